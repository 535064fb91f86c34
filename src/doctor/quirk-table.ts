/**
 * What is known of PKCS#11 modules beyond the standard: each fact with what it means for Sealgate, and what to do.
 *
 * Facts that every module's user needs are found by looking (src/doctor/); here is only what no look from outside can
 * tell. No other part asks which module it is.
 */

export interface ModuleKind {
  readonly id: string
  readonly name: string
  /** Fits `manufacturer / description` of C_GetInfo. */
  readonly library: RegExp
  /** Fits the module's path; for modules that do not get as far as C_GetInfo, or hand on what others say. */
  readonly file: RegExp
  /** What its vendor's module must be told by the environment, when it shows no token. */
  readonly environment: string
  readonly quirks: readonly Quirk[]
}

export interface Quirk {
  readonly id: string
  readonly level: 'note' | 'warning'
  /** What the module does. */
  readonly fact: string
  /** What that means here. */
  readonly consequence: string
  readonly cure: string
  /** Where it is written, or seen. */
  readonly source: string
  /** undefined: always. */
  readonly when?: (situation: Situation) => boolean
}

/** What quirks depend on. */
export interface Situation {
  readonly sessions: number
  readonly userType: number
  /** Key types of the certificates, or of the keys that the token shows. */
  readonly keyTypes: ReadonlySet<'rsa' | 'ec' | 'ed25519'>
  readonly env: Readonly<Record<string, string>>
}

export const MODULE_KINDS: readonly ModuleKind[] = [
  {
    id: 'cloudhsm-5',
    name: 'AWS CloudHSM, Client SDK 5',
    library: /cloudhsm|amazon/i,
    file: /libcloudhsm_pkcs11\.so/,
    environment:
      'it reads /opt/cloudhsm/etc/cloudhsm-pkcs11.cfg: run configure-pkcs11 -a with the address of an HSM',
    quirks: [
      {
        id: 'cloudhsm.busy',
        level: 'note',
        fact: 'a throttled HSM says CKR_FUNCTION_FAILED, and SDK 5.8 and later first try three times themselves, each time waiting longer',
        consequence:
          'a busy cluster shows as slow signatures before it shows as errors; Sealgate takes both for a reason to ask for less',
        cure: 'with two clusters behind one key, configure-pkcs11 --default-retry-mode off lets Sealgate ask the other one at once',
        source: 'AWS CloudHSM user guide: troubleshoot-hsm-throttling, pkcs11-library-configs-retry',
      },
      {
        id: 'cloudhsm.availability',
        level: 'note',
        fact: 'a key cannot be used until it is on two HSMs of the cluster, unless disable_key_availability_check is set',
        consequence: 'with one HSM in the cluster, or right after a key is born, signatures fail',
        cure: 'run at least two HSMs; for a cluster of one: configure-pkcs11 --disable-key-availability-check',
        source: 'AWS CloudHSM user guide: manage-key-sync',
      },
      {
        id: 'cloudhsm.pin',
        level: 'note',
        fact: 'the PIN is USER:PASSWORD of a crypto user',
        consequence: 'a bare password is refused as CKR_PIN_INCORRECT or CKR_ARGUMENTS_BAD',
        cure: 'write both, with the colon, into the PIN file',
        source: 'AWS CloudHSM user guide: pkcs11-pin',
      },
      {
        id: 'cloudhsm.sessions',
        level: 'warning',
        fact: 'an application may have 1,024 sessions',
        consequence: 'sessions past that fail with CKR_SESSION_COUNT',
        cure: 'set sessions to 1000 or less; one HSM is busy with far fewer (sealgate bench sign finds the knee)',
        source: 'AWS CloudHSM user guide: limits',
        when: ({ sessions }) => sessions >= 1024,
      },
      {
        id: 'cloudhsm.attributes',
        level: 'note',
        fact: 'C_GetAttributeValue returns CKR_DEVICE_ERROR while the cluster throttles',
        consequence: 'attributes may be missing from this report',
        cure: 'run the doctor again when the cluster is quiet',
        source: 'AWS CloudHSM user guide: ki-pkcs11-sdk',
      },
      {
        id: 'cloudhsm.ed25519',
        level: 'warning',
        fact: 'it has no EdDSA mechanism',
        consequence: 'an Ed25519 certificate cannot be served from it',
        cure: 'use P-256 or P-384',
        source: 'AWS CloudHSM user guide: pkcs11-mechanisms',
        when: ({ keyTypes }) => keyTypes.has('ed25519'),
      },
    ],
  },
  {
    id: 'cloudhsm-3',
    name: 'AWS CloudHSM, Client SDK 3',
    library: /cavium/i,
    file: /libcloudhsm_pkcs11_(?:standard|redis)\.so|liquidsec/i,
    environment: 'it needs the cloudhsm-client daemon, which must run and be configured',
    quirks: [
      {
        id: 'cloudhsm3.busy',
        level: 'warning',
        fact: 'a throttled HSM says CKR_OPERATION_ACTIVE, and all calls go through a daemon',
        consequence:
          'when the daemon restarts every signature fails until it is back; Sealgate opens the module again then',
        cure: 'move to Client SDK 5, which has no daemon',
        source: 'AWS CloudHSM user guide: troubleshoot-hsm-throttling, client-sdk-migration',
      },
    ],
  },
  {
    id: 'luna',
    name: 'Thales Luna',
    library: /safenet|chrystoki|luna|gemalto/i,
    file: /libCryptoki2|libcklog2|libCryptoki\.so/i,
    environment:
      'set ChrystokiConfigurationPath in env to the folder with Chrystoki.conf, unless that is /etc',
    quirks: [
      {
        id: 'luna.crypto-user',
        level: 'note',
        fact: 'the limited role, crypto user, logs in with the vendor’s own user type 0x80000001',
        consequence: 'its PIN is refused when it is tried as an ordinary user (crypto officer)',
        cure: 'for a crypto user set user_type: 0x80000001; a crypto user can sign and change nothing, which is all Sealgate needs',
        source: 'gokeyless#302',
        when: ({ userType }) => userType === 1,
      },
      {
        id: 'luna.idle',
        level: 'note',
        fact: 'after long idleness or a reboot of the appliance or a switch a call may hang for minutes, then CKR_CRYPTOKI_NOT_INITIALIZED',
        consequence:
          'only a new process helps; Sealgate ends the host after signing.timeout and starts another',
        cure: 'have two members, so that somebody signs meanwhile; firewalls between must not drop idle NTLS connections',
        source: 'Pkcs11Interop#214, libp11#228',
      },
      {
        id: 'luna.connections',
        level: 'note',
        fact: 'an appliance takes 800 NTLS connections, and opening hundreds at once times out',
        consequence: 'each Sealgate process counts as one client per member',
        cure: 'start many proxies one after the other',
        source: 'Luna Network HSM 7.3 administration guide',
      },
      {
        id: 'luna.ha',
        level: 'note',
        fact: 'partitions and HA groups may carry the same label',
        consequence: 'token: LABEL takes the first that fits',
        cure: 'name the token by serial',
        source: 'boulder#863',
      },
    ],
  },
  {
    id: 'nshield',
    name: 'Entrust nShield',
    library: /ncipher|nshield/i,
    file: /libcknfast/i,
    environment:
      'it needs the nFast server (hardserver), NFAST_HOME if that is not /opt/nfast, and a user in the group nfast',
    quirks: [
      {
        id: 'nshield.load-sharing',
        level: 'note',
        fact: 'the modules of a security world share the work only with CKNFAST_LOADSHARING=1',
        consequence: 'without it one slot is one nShield, and its loss ends the signatures of that member',
        cure: 'set CKNFAST_LOADSHARING: "1" in env, or make each nShield a member of its own, which Sealgate balances and watches',
        source: 'nShield PKCS#11 library environment variables',
        when: ({ env }) => env['CKNFAST_LOADSHARING'] === undefined,
      },
      {
        id: 'nshield.module-protected',
        level: 'note',
        fact: 'keys that only the module protects are in the slot "accelerator", where nobody has to log in',
        consequence: 'whoever runs code on this machine as a member of the group nfast can use them',
        cure: 'protect keys with a softcard or an operator card set; then they ask for a PIN',
        source: 'nShield PKCS#11 user guide',
      },
    ],
  },
  {
    id: 'softhsm',
    name: 'SoftHSM',
    library: /softhsm/i,
    file: /libsofthsm/i,
    environment:
      'set SOFTHSM2_CONF in env to its configuration file, whose directories.tokendir has the tokens and which this user may read',
    quirks: [
      {
        id: 'softhsm.software',
        level: 'warning',
        fact: 'its keys are files, encrypted with the PIN, and are used in this machine’s memory',
        consequence: 'whoever reads the files and the PIN, or the memory of the host process, has the keys',
        cure: 'good for development, tests and drills; serve the public from an HSM',
        source: 'SoftHSM manual',
      },
      {
        id: 'softhsm.login-writes',
        level: 'note',
        fact: 'every login writes the token’s file anew',
        consequence: 'another process that opens the token in that moment sees none; Sealgate tries again',
        cure: 'nothing, as long as all programs that use the token do so',
        source: 'seen with 2.6.1, src/hsm/README.md',
      },
    ],
  },
  {
    id: 'yubihsm',
    name: 'YubiHSM 2',
    library: /yubihsm/i,
    file: /yubihsm/i,
    environment:
      'set YUBIHSM_PKCS11_CONF in env to its configuration file, whose connector= must be reachable (or give that in initialize)',
    quirks: [
      {
        id: 'yubihsm.sessions',
        level: 'warning',
        fact: 'it has 16 sessions for all programs together',
        consequence:
          'what is configured beyond that fails with CKR_SESSION_COUNT, and so does this doctor while the proxy has them all',
        cure: 'set sessions to 8 or less: the device signs one after the other anyway',
        source: 'yubihsm-shell#379, offline-keystore#44',
        when: ({ sessions }) => sessions > 12,
      },
      {
        id: 'yubihsm.idle',
        level: 'note',
        fact: 'the device drops a session that was idle for 30 seconds',
        consequence:
          'the first signature after a quiet time needs a fresh login; Sealgate’s ladder does that within a second',
        cure: 'have a second member, which signs meanwhile',
        source: 'yubihsm-shell#262, certificates#937',
      },
      {
        id: 'yubihsm.pin',
        level: 'note',
        fact: 'the PIN is the authentication key’s id, four hexadecimal digits, with its password right behind',
        consequence: 'a bare password is refused',
        cure: 'write e.g. 0001 and the password, without a blank between, into the PIN file',
        source: 'YubiHSM 2 user guide: PKCS#11 with YubiHSM 2',
      },
    ],
  },
  {
    id: 'yubikey',
    name: 'YubiKey (PIV)',
    library: /yubico.*piv/i,
    file: /libykcs11/i,
    environment: 'it needs pcscd running, and the key plugged in',
    quirks: [
      {
        id: 'yubikey.slow',
        level: 'warning',
        fact: 'it signs one after the other, an RSA signature takes about 0.7 s, and three wrong PINs lock it',
        consequence: 'two or three handshakes a second',
        cure: 'fine for a few users; else an HSM',
        source: 'boulder#795',
      },
    ],
  },
  {
    id: 'nethsm',
    name: 'Nitrokey NetHSM',
    library: /nethsm|nitrokey/i,
    file: /nethsm/i,
    environment:
      'set P11NETHSM_CONFIG_FILE in env to its configuration file, unless that is /etc/nitrokey/p11nethsm.conf',
    quirks: [
      {
        id: 'nethsm.retries',
        level: 'note',
        fact: 'its module tries again by itself (retries, timeout_seconds) and goes round all instances of a slot',
        consequence:
          'one C_Sign may take retries × timeout_seconds, longer than signing.timeout; Sealgate then ends the host',
        cure: 'make each NetHSM a slot and a member of its own, with retries.count: 0 and timeout_seconds below signing.timeout: then Sealgate fails over',
        source: 'Nitrokey documentation: NetHSM, PKCS#11 setup',
      },
      {
        id: 'nethsm.login',
        level: 'note',
        fact: 'the PIN is the passphrase of the operator; where the module’s configuration has it, any PIN is taken',
        consequence: 'then its configuration file is the secret to protect',
        cure: 'leave operator.password out of it and give the passphrase as the PIN',
        source: 'Nitrokey documentation: NetHSM, PKCS#11 setup',
      },
    ],
  },
  {
    id: 'p11-kit',
    name: 'p11-kit client',
    library: /p11-kit|pkcs#11 kit/i,
    file: /p11-kit-client|p11-kit-proxy/i,
    environment:
      'set P11_KIT_SERVER_ADDRESS in env, e.g. unix:path=/run/p11-kit/pkcs11, and see that p11-kit server runs there',
    quirks: [
      {
        id: 'p11-kit.one-at-a-time',
        level: 'note',
        fact: 'one call at a time goes through its connection, over all sessions',
        consequence: 'more sessions do not sign faster',
        cure: 'for more throughput give the same token several members, each with a connection of its own',
        source: 'seen with 0.24.1, src/hsm/README.md',
      },
      {
        id: 'p11-kit.far-side',
        level: 'note',
        fact: 'when the far side goes every call returns CKR_DEVICE_ERROR until the module is started anew; when it is silent a call never returns',
        consequence: 'Sealgate starts the module anew, and ends a host that hangs',
        cure: 'have a second member that does not go through the same server',
        source: 'seen with 0.24.1, src/hsm/README.md',
      },
    ],
  },
  {
    id: 'nss',
    name: 'NSS softokn',
    library: /mozilla|nss /i,
    file: /libsoftokn3/,
    environment: "tell it in initialize where its database is: configdir='sql:/path'",
    quirks: [
      {
        id: 'nss.rsa',
        level: 'warning',
        fact: 'every C_SignInit with an RSA key decrypts it anew, 120 ms with the usual iteration count',
        consequence: 'eight handshakes a second and member',
        cure: 'use an EC key, or import the key with NSS_MAX_MP_PBE_ITERATION_COUNT=1 where the files are protected otherwise',
        source: 'seen with 3.87.1, src/hsm/README.md',
        when: ({ keyTypes }) => keyTypes.has('rsa'),
      },
      {
        id: 'nss.serial',
        level: 'note',
        fact: 'all its tokens have the serial number 0000000000000000',
        consequence: 'serial does not choose a token',
        cure: 'choose by label: NSS Certificate DB',
        source: 'seen with 3.87.1, src/hsm/README.md',
      },
      {
        id: 'nss.ids',
        level: 'note',
        fact: 'an imported key gets the SHA-1 of its public key as its id',
        consequence: 'a key that other members know by label or by a short id has another one here',
        cure: 'name it in certificates[].key.uris',
        source: 'seen with 3.87.1, src/hsm/README.md',
      },
    ],
  },
  {
    id: 'opencryptoki',
    name: 'openCryptoki',
    library: /opencryptoki|\bibm\b/i,
    file: /libopencryptoki|opencryptoki\/PKCS11_API/i,
    environment: 'start pkcsslotd, and put the user that runs Sealgate into the group pkcs11',
    quirks: [
      {
        id: 'opencryptoki.slot-daemon',
        level: 'note',
        fact: 'without pkcsslotd, or outside the group pkcs11, C_Initialize returns CKR_FUNCTION_FAILED, and some versions hang in C_Finalize after it',
        consequence: 'a member that does not start, and says nothing of the daemon',
        cure: 'have pkcsslotd started before Sealgate (systemd: After=pkcsslotd.service)',
        source: 'opencryptoki#671, #507',
      },
    ],
  },
  {
    id: 'tpm2',
    name: 'tpm2-pkcs11',
    library: /tpm2/i,
    file: /libtpm2_pkcs11/,
    environment:
      'set TPM2_PKCS11_STORE in env to the folder of its store, and let this user use /dev/tpmrm0 (group tss)',
    quirks: [
      {
        id: 'tpm2.pss-salt',
        level: 'warning',
        fact: 'a TPM makes RSA-PSS signatures with the longest salt that fits; TLS wants one as long as the hash',
        consequence: 'TLS 1.3 handshakes with an RSA key fail, although the mechanism is there',
        cure: 'use an EC key',
        source: 'tpm2-openssl#115, TCG TPM 2.0 part 1, B.7',
        when: ({ keyTypes }) => keyTypes.has('rsa'),
      },
      {
        id: 'tpm2.slow',
        level: 'note',
        fact: 'a TPM does one thing at a time and takes tens to hundreds of milliseconds for a signature',
        consequence: 'a handful of handshakes a second, whatever sessions says',
        cure: 'lean on resumption, or use an HSM',
        source: 'TPM 2.0 has one command at a time',
      },
    ],
  },
  {
    id: 'opensc',
    name: 'OpenSC (smart cards)',
    library: /opensc/i,
    file: /opensc-pkcs11/,
    environment: 'it needs pcscd running, and the card in its reader',
    quirks: [
      {
        id: 'opensc.card',
        level: 'warning',
        fact: 'a smart card signs one after the other, takes 50 to 500 ms, and locks itself after three wrong PINs',
        consequence: 'a few handshakes a second',
        cure: 'fine for a few users; else an HSM',
        source: 'OpenSC wiki',
      },
    ],
  },
  {
    id: 'google-kms',
    name: 'Google Cloud KMS',
    library: /cloud kms/i,
    file: /libkmsp11/,
    environment:
      'set KMS_PKCS11_CONFIG in env to its YAML file, and give it credentials (GOOGLE_APPLICATION_CREDENTIALS)',
    quirks: [
      {
        id: 'google-kms.operation-active',
        level: 'note',
        fact: 'some versions leave an operation behind after an error: C_SignInit then says CKR_OPERATION_ACTIVE for ever',
        consequence: 'Sealgate gives up a session after any error and opens another one',
        cure: 'nothing; update the module all the same',
        source: 'kms-integrations#38',
      },
    ],
  },
]

/** @param library `manufacturer / description` of C_GetInfo; undefined when it did not come that far. */
export function moduleKind(library: string | undefined, path: string): ModuleKind | undefined {
  return (
    // What stands in between (p11-kit) hands on the far side's name; its own quirks matter first.
    MODULE_KINDS.find(({ file }) => file.test(path)) ??
    (library === undefined ? undefined : MODULE_KINDS.find((kind) => kind.library.test(library)))
  )
}
