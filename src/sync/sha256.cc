#include "sync/sha256.h"

#include <openssl/evp.h>

#include "base/hex.h"

namespace vellum::sync {

std::string Sha256Hex(std::string_view bytes) {
  unsigned char digest[EVP_MAX_MD_SIZE];
  unsigned size = 0;
  EVP_Digest(bytes.data(), bytes.size(), digest, &size, EVP_sha256(), nullptr);
  return Hex({reinterpret_cast<const char*>(digest), size});
}

}  // namespace vellum::sync
