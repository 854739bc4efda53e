#include "kv/reclaimer.h"

// Stands in until reclaimer.cc is here (src/kv/CMakeLists.txt then leaves this file out): compactions work, nothing is
// reclaimed, and whoever waits for space is told so.
namespace vellum::kv {

struct Reclaimer::Impl {};

Reclaimer::Reclaimer(Options, storage::Database*, std::shared_ptr<CompactionMark>, CountKeys, ProposeFunction) {}
Reclaimer::~Reclaimer() = default;
void Reclaimer::Start(Revision, Revision) {}
void Reclaimer::Stop() {}
void Reclaimer::Reclaim(Revision, bool, std::function<void(Status)> done) {
  if (done) done(Unimplemented("this build reclaims no space"));
}
void Reclaimer::Defragment(std::function<void(Status)> done) {
  if (done) done(Unimplemented("this build reclaims no space"));
}

}  // namespace vellum::kv
