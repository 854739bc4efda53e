// What jemalloc is told, where the program runs on it: it looks for this name before main (see jemalloc(3), TUNING).
// MALLOC_CONF in the environment goes before it.
extern "C" {
// Memory that was freed goes back to the system after a second instead of ten, and also while the program does nothing: by
// itself jemalloc gives back only while it is called.
const char* malloc_conf = "background_thread:true,dirty_decay_ms:1000";
}
