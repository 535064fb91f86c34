// SPDX-License-Identifier: Apache-2.0
// Long because a provider is one table of functions for OpenSSL, and they share the key and its signature.
#include "provider.h"

#include <openssl/core_dispatch.h>
#include <openssl/core_names.h>
#include <openssl/params.h>
#include <openssl/rsa.h>

#include <array>
#include <atomic>
#include <cstring>
#include <string_view>

#include "sign_operation.h"

namespace sealgate {
namespace {

constexpr char kProviderName[] = "sealgate";
constexpr char kOwnProperties[] = "provider=sealgate";
constexpr char kDefaultProperties[] = "provider=default";
constexpr char kKeyIdParam[] = "sealgate-key-id";

enum class KeyType : uint8_t { kRsa, kEc, kEd25519 };

constexpr const char* kTypeNames[] = {"RSA", "EC", "ED25519"};

// A provider key: OpenSSL calls it keydata.
//
// Owns:   the public half, as a key of the default provider, which does all that needs no private half.
// Thread: any, after import; OpenSSL counts the EVP_PKEY above it, we are freed once.
struct Key {
  KeyType type;
  OSSL_LIB_CTX* libctx;
  uint32_t id = 0;
  EvpPkeyPtr public_half{};
};

// One signature: RSA padding chosen by TLS, or nothing to choose.
struct SignatureContext {
  const Key* key = nullptr;
  int hash_bits = 0;  // 0: the algorithm hashes by itself
  bool pss = false;
};

// ---- key management -------------------------------------------------------------------------------------

template <KeyType Type>
void* KeyNew(void* provider_context) {
  return new Key{.type = Type, .libctx = static_cast<OSSL_LIB_CTX*>(provider_context)};
}

void KeyFree(void* keydata) { delete static_cast<Key*>(keydata); }

int KeyHas(const void* keydata, int /*selection*/) {
  const auto* key = static_cast<const Key*>(keydata);
  return key != nullptr && key->public_half != nullptr;  // the private half exists, elsewhere
}

int KeyMatch(const void* keydata1, const void* keydata2, int /*selection*/) {
  const auto* a = static_cast<const Key*>(keydata1);
  const auto* b = static_cast<const Key*>(keydata2);
  return EVP_PKEY_eq(a->public_half.get(), b->public_half.get()) == 1;
}

int KeyImport(void* keydata, int /*selection*/, const OSSL_PARAM params[]) {
  auto* key = static_cast<Key*>(keydata);
  const OSSL_PARAM* id = OSSL_PARAM_locate_const(params, kKeyIdParam);
  if (id != nullptr && OSSL_PARAM_get_uint32(id, &key->id) != 1) return 0;
  const char* type = kTypeNames[static_cast<size_t>(key->type)];
  const EvpPkeyCtxPtr ctx(EVP_PKEY_CTX_new_from_name(key->libctx, type, kDefaultProperties));
  EVP_PKEY* public_half = nullptr;
  if (ctx == nullptr || EVP_PKEY_fromdata_init(ctx.get()) != 1 ||
      EVP_PKEY_fromdata(ctx.get(), &public_half, EVP_PKEY_PUBLIC_KEY, const_cast<OSSL_PARAM*>(params)) != 1) {
    return 0;
  }
  key->public_half.reset(public_half);
  return 1;
}

const OSSL_PARAM* KeyImportTypes(int /*selection*/) {
  // What EVP_PKEY_fromdata may be given; it does not check against this list.
  static const OSSL_PARAM types[] = {OSSL_PARAM_uint32(kKeyIdParam, nullptr), OSSL_PARAM_END};
  return types;
}

int KeyExport(void* keydata, int selection, OSSL_CALLBACK* callback, void* argument) {
  // Refusing the private half keeps OpenSSL from moving the operation to the default provider.
  if ((selection & OSSL_KEYMGMT_SELECT_PRIVATE_KEY) != 0) return 0;
  const auto* key = static_cast<const Key*>(keydata);
  return EVP_PKEY_export(key->public_half.get(), EVP_PKEY_PUBLIC_KEY, callback, argument);
}

const OSSL_PARAM* KeyExportTypes(int /*selection*/) {
  static const OSSL_PARAM none[] = {OSSL_PARAM_END};
  return none;
}

int KeyGetParams(void* keydata, OSSL_PARAM params[]) {
  return EVP_PKEY_get_params(static_cast<const Key*>(keydata)->public_half.get(), params);
}

const OSSL_PARAM* KeyGettableParams(void* /*provider_context*/) {
  static const OSSL_PARAM params[] = {
      OSSL_PARAM_int(OSSL_PKEY_PARAM_BITS, nullptr),
      OSSL_PARAM_int(OSSL_PKEY_PARAM_SECURITY_BITS, nullptr),
      OSSL_PARAM_int(OSSL_PKEY_PARAM_MAX_SIZE, nullptr),
      OSSL_PARAM_utf8_string(OSSL_PKEY_PARAM_GROUP_NAME, nullptr, 0),
      OSSL_PARAM_utf8_string(OSSL_PKEY_PARAM_EC_POINT_CONVERSION_FORMAT, nullptr, 0),
      OSSL_PARAM_utf8_string(OSSL_PKEY_PARAM_DEFAULT_DIGEST, nullptr, 0),
      OSSL_PARAM_utf8_string(OSSL_PKEY_PARAM_MANDATORY_DIGEST, nullptr, 0),
      OSSL_PARAM_octet_string(OSSL_PKEY_PARAM_ENCODED_PUBLIC_KEY, nullptr, 0),
      OSSL_PARAM_END,
  };
  return params;
}

template <KeyType Type>
const char* OperationName(int operation) {
  if (Type == KeyType::kEc && operation == OSSL_OP_SIGNATURE) return "ECDSA";
  return kTypeNames[static_cast<size_t>(Type)];
}

// ---- signature ------------------------------------------------------------------------------------------

void* SignatureNew(void* /*provider_context*/, const char* /*properties*/) { return new SignatureContext(); }

void SignatureFree(void* context) { delete static_cast<SignatureContext*>(context); }

void* SignatureDup(void* context) {
  return new SignatureContext(*static_cast<const SignatureContext*>(context));
}

int SetSignatureParams(void* context, const OSSL_PARAM params[]) {
  auto* signature = static_cast<SignatureContext*>(context);
  const OSSL_PARAM* padding =
      params != nullptr ? OSSL_PARAM_locate_const(params, OSSL_SIGNATURE_PARAM_PAD_MODE) : nullptr;
  if (padding == nullptr) return 1;
  if (padding->data_type == OSSL_PARAM_UTF8_STRING) {
    signature->pss = std::string_view(static_cast<const char*>(padding->data)) == OSSL_PKEY_RSA_PAD_MODE_PSS;
    return 1;
  }
  int mode = 0;
  if (OSSL_PARAM_get_int(padding, &mode) != 1) return 0;
  signature->pss = mode == RSA_PKCS1_PSS_PADDING;
  return signature->pss || mode == RSA_PKCS1_PADDING;
}

const OSSL_PARAM* SettableSignatureParams(void* /*context*/, void* /*provider_context*/) {
  static const OSSL_PARAM params[] = {
      OSSL_PARAM_utf8_string(OSSL_SIGNATURE_PARAM_PAD_MODE, nullptr, 0),
      OSSL_PARAM_utf8_string(OSSL_SIGNATURE_PARAM_PSS_SALTLEN, nullptr, 0),
      OSSL_PARAM_utf8_string(OSSL_SIGNATURE_PARAM_MGF1_DIGEST, nullptr, 0),
      OSSL_PARAM_END,
  };
  return params;
}

int DigestSignInit(void* context, const char* digest, void* keydata, const OSSL_PARAM params[]) {
  auto* signature = static_cast<SignatureContext*>(context);
  signature->key = static_cast<const Key*>(keydata);
  signature->hash_bits = 0;
  if (digest != nullptr && *digest != '\0') {
    const std::string_view name(digest);
    if (name == "SHA224" || name == "SHA2-224")
      signature->hash_bits = 224;
    else if (name == "SHA256" || name == "SHA2-256")
      signature->hash_bits = 256;
    else if (name == "SHA384" || name == "SHA2-384")
      signature->hash_bits = 384;
    else if (name == "SHA512" || name == "SHA2-512")
      signature->hash_bits = 512;
    else
      return 0;
  }
  return SetSignatureParams(context, params);
}

// The TLS SignatureScheme (RFC 8446 §4.2.3; of SHA-224, RFC 5246 §7.4.1.4.1); 0 when we have none for the
// combination.
uint16_t SchemeOf(const SignatureContext& signature) {
  struct Row {
    KeyType type;
    bool pss;
    int hash_bits;
    uint16_t scheme;
  };
  static constexpr std::array<Row, 11> kSchemes{{
      {KeyType::kEc, false, 224, 0x0303},
      {KeyType::kEc, false, 256, 0x0403},
      {KeyType::kEc, false, 384, 0x0503},
      {KeyType::kEc, false, 512, 0x0603},
      {KeyType::kEd25519, false, 0, 0x0807},
      {KeyType::kRsa, true, 256, 0x0804},
      {KeyType::kRsa, true, 384, 0x0805},
      {KeyType::kRsa, true, 512, 0x0806},
      {KeyType::kRsa, false, 256, 0x0401},
      {KeyType::kRsa, false, 384, 0x0501},
      {KeyType::kRsa, false, 512, 0x0601},
  }};
  for (const Row& row : kSchemes) {
    if (row.type == signature.key->type && row.pss == signature.pss && row.hash_bits == signature.hash_bits) {
      return row.scheme;
    }
  }
  return 0;
}

// Suspends: returns when the signature is there or has failed. PSS salt length is the hash length in TLS.
int DigestSign(void* context, unsigned char* out, size_t* out_size, size_t out_capacity,
               const unsigned char* message, size_t message_size) {
  const auto* signature = static_cast<const SignatureContext*>(context);
  if (out == nullptr) {
    *out_size = static_cast<size_t>(EVP_PKEY_get_size(signature->key->public_half.get()));
    return 1;
  }
  const uint16_t scheme = SchemeOf(*signature);
  SignOperation* operation = SignOperation::Current();
  if (scheme == 0 || operation == nullptr) return 0;
  const auto bytes = operation->Sign(signature->key->id, scheme, {message, message_size});
  if (!bytes || bytes->size() > out_capacity) return 0;
  std::memcpy(out, bytes->data(), bytes->size());
  *out_size = bytes->size();
  return 1;
}

// ---- tables ---------------------------------------------------------------------------------------------

template <typename Function>
constexpr OSSL_DISPATCH Entry(int id, Function* function) {
  return {id, reinterpret_cast<void (*)()>(function)};
}

template <KeyType Type>
const OSSL_DISPATCH* KeyFunctions() {
  static const OSSL_DISPATCH functions[] = {
      Entry(OSSL_FUNC_KEYMGMT_NEW, &KeyNew<Type>),
      Entry(OSSL_FUNC_KEYMGMT_FREE, &KeyFree),
      Entry(OSSL_FUNC_KEYMGMT_HAS, &KeyHas),
      Entry(OSSL_FUNC_KEYMGMT_MATCH, &KeyMatch),
      Entry(OSSL_FUNC_KEYMGMT_IMPORT, &KeyImport),
      Entry(OSSL_FUNC_KEYMGMT_IMPORT_TYPES, &KeyImportTypes),
      Entry(OSSL_FUNC_KEYMGMT_EXPORT, &KeyExport),
      Entry(OSSL_FUNC_KEYMGMT_EXPORT_TYPES, &KeyExportTypes),
      Entry(OSSL_FUNC_KEYMGMT_GET_PARAMS, &KeyGetParams),
      Entry(OSSL_FUNC_KEYMGMT_GETTABLE_PARAMS, &KeyGettableParams),
      Entry(OSSL_FUNC_KEYMGMT_QUERY_OPERATION_NAME, &OperationName<Type>),
      {0, nullptr},
  };
  return functions;
}

const OSSL_DISPATCH kSignatureFunctions[] = {
    Entry(OSSL_FUNC_SIGNATURE_NEWCTX, &SignatureNew),
    Entry(OSSL_FUNC_SIGNATURE_FREECTX, &SignatureFree),
    Entry(OSSL_FUNC_SIGNATURE_DUPCTX, &SignatureDup),
    Entry(OSSL_FUNC_SIGNATURE_DIGEST_SIGN_INIT, &DigestSignInit),
    Entry(OSSL_FUNC_SIGNATURE_DIGEST_SIGN, &DigestSign),
    Entry(OSSL_FUNC_SIGNATURE_SET_CTX_PARAMS, &SetSignatureParams),
    Entry(OSSL_FUNC_SIGNATURE_SETTABLE_CTX_PARAMS, &SettableSignatureParams),
    {0, nullptr},
};

const OSSL_ALGORITHM* QueryOperation(void* /*provider_context*/, int operation, int* no_cache) {
  static const OSSL_ALGORITHM key_management[] = {
      {"RSA:rsaEncryption:1.2.840.113549.1.1.1", kOwnProperties, KeyFunctions<KeyType::kRsa>(), nullptr},
      {"EC:id-ecPublicKey:1.2.840.10045.2.1", kOwnProperties, KeyFunctions<KeyType::kEc>(), nullptr},
      {"ED25519:1.3.101.112", kOwnProperties, KeyFunctions<KeyType::kEd25519>(), nullptr},
      {nullptr, nullptr, nullptr, nullptr},
  };
  static const OSSL_ALGORITHM signature[] = {
      {"RSA:rsaEncryption:1.2.840.113549.1.1.1", kOwnProperties, kSignatureFunctions, nullptr},
      {"ECDSA", kOwnProperties, kSignatureFunctions, nullptr},
      {"ED25519:1.3.101.112", kOwnProperties, kSignatureFunctions, nullptr},
      {nullptr, nullptr, nullptr, nullptr},
  };
  *no_cache = 0;
  switch (operation) {
    case OSSL_OP_KEYMGMT:
      return key_management;
    case OSSL_OP_SIGNATURE:
      return signature;
    default:
      return nullptr;
  }
}

int ProviderInit(const OSSL_CORE_HANDLE* handle, const OSSL_DISPATCH* core, const OSSL_DISPATCH** functions,
                 void** provider_context) {
  static const OSSL_DISPATCH provider_functions[] = {
      Entry(OSSL_FUNC_PROVIDER_QUERY_OPERATION, &QueryOperation),
      {0, nullptr},
  };
  for (; core->function_id != 0; ++core) {
    if (core->function_id == OSSL_FUNC_CORE_GET_LIBCTX) {
      // For a built-in provider the core context is the library context itself (provider-base(7)).
      *provider_context = OSSL_FUNC_core_get_libctx(core)(handle);
    }
  }
  *functions = provider_functions;
  return *provider_context != nullptr;
}

struct ImportTarget {
  EVP_PKEY_CTX* ctx;
  uint32_t key_id;
  EVP_PKEY* key;
};

// EVP_PKEY_fromdata wants the public half and our id in one list.
int ImportWithId(const OSSL_PARAM params[], void* argument) {
  auto* target = static_cast<ImportTarget*>(argument);
  std::vector<OSSL_PARAM> with_id;
  for (const OSSL_PARAM* param = params; param->key != nullptr; ++param) with_id.push_back(*param);
  with_id.push_back(OSSL_PARAM_construct_uint32(kKeyIdParam, &target->key_id));
  with_id.push_back(OSSL_PARAM_construct_end());
  return EVP_PKEY_fromdata_init(target->ctx) == 1 &&
         EVP_PKEY_fromdata(target->ctx, &target->key, EVP_PKEY_PUBLIC_KEY, with_id.data()) == 1;
}

}  // namespace

std::unique_ptr<CryptoLibrary> CryptoLibrary::Create() {
  std::unique_ptr<CryptoLibrary> library(new CryptoLibrary());
  library->libctx_.reset(OSSL_LIB_CTX_new());
  OSSL_LIB_CTX* libctx = library->libctx_.get();
  if (libctx == nullptr) return nullptr;
  library->default_provider_.reset(OSSL_PROVIDER_load(libctx, "default"));
  if (library->default_provider_ == nullptr) return nullptr;
  if (OSSL_PROVIDER_add_builtin(libctx, kProviderName, &ProviderInit) != 1) return nullptr;
  library->own_provider_.reset(OSSL_PROVIDER_load(libctx, kProviderName));
  if (library->own_provider_ == nullptr) return nullptr;
  library->ticket_cipher_.reset(EVP_CIPHER_fetch(libctx, "AES-256-CBC", nullptr));
  if (library->ticket_cipher_ == nullptr) return nullptr;
  return library;
}

EvpPkeyPtr CryptoLibrary::MakeKey(EVP_PKEY* public_key, uint32_t key_id) const {
  const char* type = EVP_PKEY_get0_type_name(public_key);
  const EvpPkeyCtxPtr ctx(type == nullptr ? nullptr
                                          : EVP_PKEY_CTX_new_from_name(libctx(), type, kOwnProperties));
  if (ctx == nullptr) return nullptr;
  ImportTarget target{ctx.get(), key_id, nullptr};
  if (EVP_PKEY_export(public_key, EVP_PKEY_PUBLIC_KEY, &ImportWithId, &target) != 1) return nullptr;
  return EvpPkeyPtr(target.key);
}

}  // namespace sealgate
