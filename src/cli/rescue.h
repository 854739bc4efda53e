#pragma once

#include <cstdio>
#include <string>

namespace vellum::cli {

struct RescueOptions {
  std::string data_dir;
  bool accept_loss = false;  ///< Otherwise only looks and says what it would do.
};

/// Opens a data directory whose write-ahead log is damaged in the middle, accepting that everything after the damage is
/// lost; the damaged log is copied aside first. Prints what it found and what is left. 0: the store opens (now); 1: it
/// is damaged, and the loss was not accepted; 2: it cannot be helped this way.
int Rescue(const RescueOptions& options, std::FILE* out);

}  // namespace vellum::cli
