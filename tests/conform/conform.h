/* conform.h - what the parts of the conformance suite share.
 *
 * The suite runs once per entry of conform_cases. What an adapter may leave out is declared there
 * and checked to be left out; everything else applies, and tests ask conform_discards() for what
 * they may expect to get back.
 */
#ifndef L2FS_CONFORM_H
#define L2FS_CONFORM_H

#include "rig.h"

struct conform_case {
    const char *name;
    const char *spec;
    const char *lacks; /* names of optional operations that are NULL, space-separated */
    bool plain_files;  /* keeps key K as file @DIR@/K */
    /* Of a peer in the same process that the adapter stores at; @PORTS@ in `spec` are its. */
    const char *receiver;
};

/* The case and its open rig, for the test that runs in this process. */
extern const struct conform_case *conform;
extern struct rig rig;

const char *conform_spec(void); /* of `rig` */

/* Nothing can be had back. */
static inline bool conform_discards(void)
{
    return rig.a->flags & L2_DISCARDS;
}

/* Stores read, send and verify the bytes, also where nothing can be had back. */
static inline bool conform_writes(void)
{
    return !conform_discards() || conform->receiver;
}

/* False when the case lacks that operation; the test fails when that and the adapter disagree. */
bool conform_can(const char *op);

void conform_add_basic(Suite *s); /* rows of the table of l2-contract.md section 2 */
void conform_add_tasks(Suite *s); /* completions, results, descriptors */
void conform_add_locks(Suite *s);
void conform_add_objects(Suite *s); /* bytes, sizes, keys, replacing, corruption */
void conform_add_names(Suite *s);   /* rename, remove, directories */
void conform_add_attrs(Suite *s);   /* attributes, xattrs, listing, usage, status */
void conform_add_threads(Suite *s);

/* A test case with the fixture that opens and closes the rig. */
void conform_add(Suite *s, const char *name, const TTest *const *tests);

#define TESTS(...) ((const TTest *const[]){__VA_ARGS__, NULL})

#endif
