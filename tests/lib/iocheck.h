/* The tables of cases of iocheck, each ended by a case without a name. */
#ifndef L2FS_TEST_IOCHECK_H
#define L2FS_TEST_IOCHECK_H

#include "iolib.h"

extern const struct iocase iocheck_names[];  /* 1, 2 */
extern const struct iocase iocheck_writer[]; /* 1 */
extern const struct iocase iocheck_dirs[];   /* 3 */
extern const struct iocase iocheck_attr[];   /* 4, 5 */
extern const struct iocase iocheck_create[]; /* 6 */
extern const struct iocase iocheck_rename[]; /* 7 */
extern const struct iocase iocheck_link[];   /* 8, 9 */
extern const struct iocase iocheck_data[];   /* 10, 12 */
extern const struct iocase iocheck_aio[];    /* 11 */
extern const struct iocase iocheck_mmap[];   /* 13 */
extern const struct iocase iocheck_misc[];   /* 14, 16, 17 */
extern const struct iocase iocheck_locks[];  /* 15 */
extern const struct iocase iocheck_mount[];  /* 18 */

#endif
