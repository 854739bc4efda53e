#include "wire/service.h"

#include <algorithm>

#include "base/check.h"

namespace vellum::wire {
namespace {

bool IsMethodPath(std::string_view path) {
  const std::size_t slash = path.rfind('/');
  return slash != std::string_view::npos && slash > 1 && path[0] == '/' && slash + 1 < path.size();
}

}  // namespace

std::optional<std::string_view> Find(const Metadata& metadata, std::string_view name) {
  for (const auto& [each, value] : metadata) {
    if (each == name) return value;
  }
  return std::nullopt;
}

void ServiceTable::AddUnary(std::string method, UnaryHandler handler) {
  VELLUM_CHECK(IsMethodPath(method));
  const std::size_t next = methods_.size();
  const auto [at, added] = methods_.try_emplace(std::move(method));
  if (added) at->second.index = next;
  at->second.unary = std::move(handler);
  at->second.stream = nullptr;
}

void ServiceTable::AddStream(std::string method, StreamFactory factory, StreamKind kind) {
  VELLUM_CHECK(IsMethodPath(method));
  const std::size_t next = methods_.size();
  const auto [at, added] = methods_.try_emplace(std::move(method));
  if (added) at->second.index = next;
  at->second.unary = nullptr;
  at->second.stream = std::move(factory);
  at->second.kind = kind;
}

void ServiceTable::SetHttp(HttpHandler handler) { http_ = std::move(handler); }

const ServiceTable::Method* ServiceTable::FindMethod(std::string_view path) const {
  const auto at = methods_.find(path);
  return at == methods_.end() ? nullptr : &at->second;
}

bool ServiceTable::HasService(std::string_view service) const {
  return std::any_of(methods_.begin(), methods_.end(), [service](const auto& each) {
    const std::string_view path = each.first;
    return path.size() > service.size() + 2 && path[0] == '/' && path.substr(1, service.size()) == service &&
           path[service.size() + 1] == '/';
  });
}

std::vector<std::string> ServiceTable::Methods() const {
  std::vector<std::string> names;
  names.reserve(methods_.size());
  for (const auto& [name, method] : methods_) names.push_back(name);
  std::sort(names.begin(), names.end());
  return names;
}

}  // namespace vellum::wire
