// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>

namespace sealgate::test {

// What OpenSSL's own client says first, as bytes for the wire: to be sent any number of times, by clients
// that need no TLS of their own because they will not go on.
[[nodiscard]] std::string ClientHello();

}  // namespace sealgate::test
