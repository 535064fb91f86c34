// SPDX-License-Identifier: Apache-2.0
#include "staples.h"

namespace sealgate {

Fingerprint FingerprintOf(const X509* certificate) {
  Fingerprint digest{};
  unsigned size = 0;
  if (X509_digest(certificate, EVP_sha256(), digest.data(), &size) != 1) digest.fill(0);
  return digest;
}

std::shared_ptr<const Staples> Staples::Create(std::vector<StapleSpec> specs) {
  std::shared_ptr<Staples> made(new Staples());
  for (StapleSpec& spec : specs) {
    const Fingerprint certificate = spec.certificate;
    made->by_certificate_.emplace(certificate, std::move(spec));
  }
  return made;
}

Staples::Answer Staples::Find(const Fingerprint& certificate, int64_t now_s) const {
  const auto found = by_certificate_.find(certificate);
  if (found == by_certificate_.end()) return {};
  const StapleSpec& spec = found->second;
  if (!spec.response.empty() && now_s < spec.ends_s)
    return {.found = Found::kGood, .response = &spec.response};
  return {.found = spec.required ? Found::kMissing : Found::kNone};
}

}  // namespace sealgate
