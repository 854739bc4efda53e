// Runs a fuzz target without libFuzzer: over its seeds, over the files of its corpus (inputs that once broke something),
// and over random changes of all of them.
//
//   vellum_fuzz_rows [--seeds DIRECTORY] [CORPUS...]
//
// --seeds writes the seeds into a directory, for libFuzzer to begin with. VELLUM_TEST_SEED and VELLUM_TEST_SCALE are those
// of the other tests.
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <random>
#include <string>
#include <vector>

#include "target.h"

namespace {

// A target whose inputs take long says fewer.
#ifndef VELLUM_FUZZ_CHANGES
#define VELLUM_FUZZ_CHANGES 2000
#endif
constexpr int kChangesPerInput = VELLUM_FUZZ_CHANGES;

double NumberFromEnvironment(const char* name, double otherwise) {
  const char* const text = std::getenv(name);
  return text == nullptr ? otherwise : std::strtod(text, nullptr);
}

void Run(const std::string& input) {
  LLVMFuzzerTestOneInput(reinterpret_cast<const std::uint8_t*>(input.data()), input.size());
}

std::string Changed(std::string input, const std::vector<std::string>& inputs, std::mt19937_64& random) {
  const auto below = [&random](std::size_t bound) { return static_cast<std::size_t>(random() % (bound == 0 ? 1 : bound)); };
  for (std::size_t step = 1 + below(4); step > 0; --step) {
    const std::size_t at = below(input.size());
    switch (below(6)) {
      case 0:
        if (!input.empty()) input[at] = static_cast<char>(random());
        break;
      case 1:
        if (!input.empty()) input[at] = static_cast<char>(static_cast<unsigned char>(input[at]) ^ (1u << below(8)));
        break;
      case 2:
        input.resize(at);
        break;
      case 3:
        input.insert(at, 1 + below(9), static_cast<char>(below(2) == 0 ? 0xff : random()));
        break;
      case 4:
        input.erase(at, 1 + below(9));
        break;
      default: {
        const std::string& other = inputs[below(inputs.size())];
        const std::size_t from = below(other.size());
        input.insert(at, other, from, below(64));
        break;
      }
    }
  }
  return input;
}

}  // namespace

int main(int argc, char** argv) {
  namespace fs = std::filesystem;
  std::vector<std::string> inputs = Seeds();
  if (argc == 3 && std::string(argv[1]) == "--seeds") {
    fs::create_directories(argv[2]);
    for (std::size_t i = 0; i < inputs.size(); ++i) std::ofstream(fs::path(argv[2]) / ("seed" + std::to_string(i))) << inputs[i];
    return 0;
  }
  for (int i = 1; i < argc; ++i) {
    if (!fs::is_directory(argv[i])) continue;
    for (const fs::directory_entry& entry : fs::directory_iterator(argv[i])) {
      std::ifstream file(entry.path(), std::ios::binary);
      inputs.emplace_back(std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>());
    }
  }
  inputs.emplace_back();

  std::random_device device;
  const auto seed = static_cast<std::uint64_t>(NumberFromEnvironment("VELLUM_TEST_SEED", static_cast<double>(device())));
  const int changes = static_cast<int>(kChangesPerInput * NumberFromEnvironment("VELLUM_TEST_SCALE", 1.0));
  std::printf("VELLUM_TEST_SEED=%llu, %zu inputs, %d changes of each\n", static_cast<unsigned long long>(seed), inputs.size(), changes);
  std::fflush(stdout);
  std::mt19937_64 random(seed);
  for (const std::string& input : inputs) Run(input);
  for (const std::string& input : inputs) {
    for (int i = 0; i < changes; ++i) Run(Changed(input, inputs, random));
  }
  return 0;
}
