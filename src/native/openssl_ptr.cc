// SPDX-License-Identifier: Apache-2.0
#include "openssl_ptr.h"

namespace sealgate {

std::vector<std::string> TakeOpensslErrors() {
  std::vector<std::string> errors;
  const char* data = nullptr;
  int flags = 0;
  while (const unsigned long code = ERR_get_error_all(nullptr, nullptr, nullptr, &data, &flags)) {
    const char* reason = ERR_reason_error_string(code);
    std::string text = reason != nullptr ? reason : "error " + std::to_string(code);
    if ((flags & ERR_TXT_STRING) != 0 && data != nullptr && *data != '\0') {
      text += " (";
      text += data;
      text += ")";
    }
    errors.push_back(std::move(text));
  }
  return errors;
}

OpensslFailure FailureWithQueue(std::string message) { return {std::move(message), TakeOpensslErrors()}; }

}  // namespace sealgate
