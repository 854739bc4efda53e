#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

/// One fuzz target per decoder of bytes from outside. Under clang libFuzzer drives it; everywhere else replay.cc does.

/// Well-formed inputs to begin with, made by the encoders.
std::vector<std::string> Seeds();

/// Must survive anything. Aborts if a promise of the decoder is broken.
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size);
