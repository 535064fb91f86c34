"""Runs a script of tlsfuzzer that expects more of a server than today's give: key exchange by RSA, or ECDHE unasked.

Usage: python3 ecdhe.py SCRIPT [ARGUMENT...]   (PYTHONPATH: tlsfuzzer and what it needs)

Of a conversation in TLS 1.2 three things change, and nothing else: suites with key exchange by RSA become the same ones
with ECDHE, a ServerKeyExchange is expected after the certificate then, and the extensions come in without which OpenSSL
does no ECDHE and signs with SHA-1. They come first: what a script does to the end of the hello, or to its last
extension, it still does there.
"""

import runpy
import sys
from collections import OrderedDict

from tlsfuzzer.expect import ExpectCertificate, ExpectServerHelloDone, ExpectServerKeyExchange
from tlsfuzzer.helpers import RSA_SIG_ALL
from tlsfuzzer.messages import ClientHelloGenerator
from tlsfuzzer.tree import TreeNode
from tlslite.constants import CipherSuite, ExtensionType, GroupName
from tlslite.extensions import (
    SignatureAlgorithmsCertExtension,
    SignatureAlgorithmsExtension,
    SupportedGroupsExtension,
)


def main():
    ClientHelloGenerator.__init__ = with_ecdhe(ClientHelloGenerator.__init__)
    ExpectCertificate.add_child = expect_key_exchange
    del sys.argv[0]
    runpy.run_path(sys.argv[0], run_name="__main__")


def with_ecdhe(init):
    def hello(self, ciphers=None, extensions=None, **others):
        ciphers = [ECDHE.get(cipher, cipher) for cipher in ciphers or ()]
        # A list of other suites is there for its own sake.
        if any(cipher in ECDHE.values() for cipher in ciphers):
            extensions = extensions or {}
            missing = [(kind, made) for kind, made in needed() if kind not in extensions]
            extensions = OrderedDict(missing + list(extensions.items()))
        init(self, ciphers, extensions, **others)

    return hello


def expect_key_exchange(self, child):
    if isinstance(child, ExpectServerHelloDone):
        TreeNode.add_child(self, ExpectServerKeyExchange()).add_child(child)
        return child
    return TreeNode.add_child(self, child)


def needed():
    return [
        (ExtensionType.supported_groups, SupportedGroupsExtension().create([GroupName.secp256r1])),
        (ExtensionType.signature_algorithms, SignatureAlgorithmsExtension().create(RSA_SIG_ALL)),
        (ExtensionType.signature_algorithms_cert, SignatureAlgorithmsCertExtension().create(RSA_SIG_ALL)),
    ]


RSA = "TLS_RSA_WITH_"
ECDHE = {
    cipher: getattr(CipherSuite, "TLS_ECDHE_RSA_WITH_" + name[len(RSA) :])
    for cipher, name in CipherSuite.ietfNames.items()
    if name.startswith(RSA) and hasattr(CipherSuite, "TLS_ECDHE_RSA_WITH_" + name[len(RSA) :])
}

if __name__ == "__main__":
    main()
