/* units.h - sizes and durations as people write them. Level 0. Pure functions, any thread. */
#ifndef L2FS_UNITS_H
#define L2FS_UNITS_H

#include "base.h"

/* "4096", "64K", "8G", "1.5T" (powers of 1024; optional "B"/"iB"; case-insensitive) -> bytes.
 * "25%" -> that share of `whole` (whole 0: -EINVAL; above 100%: -ERANGE). Parts of a byte are cut.
 * 0, -EINVAL (not a size), -ERANGE. */
int units_parse_size(const char *text, uint64_t whole, uint64_t *bytes);
/* "250ms", "5s", "30m", "2h", "1d" (also us, ns), plain number = seconds, fractions allowed ->
 * nanoseconds. 0, -EINVAL (not a duration), -ERANGE. */
int units_parse_duration(const char *text, uint64_t *ns);
/* "1.5G", "64M", "512" - at most 2 decimals, cut and never rounded up, so that reading it back
 * gives no more than the value; `buf` gets at most `len` bytes. Returns buf. */
const char *units_format_size(uint64_t bytes, char *buf, size_t len);
const char *units_format_duration(uint64_t ns, char *buf, size_t len);

#endif
