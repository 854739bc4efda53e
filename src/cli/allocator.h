#pragma once

/// jemalloc's settings. Read before main; defined for the program alone.
extern "C" const char* malloc_conf;
