/* l2.c - freeing what crosses the L2 contract. Pure functions on the caller's structures. */
#include "l2.h"

void l2_store_result_fini(struct l2_store_result *r)
{
    free(r->errors);
    free(r->crc32c);
    r->errors = NULL;
    r->crc32c = NULL;
}

void l2_object_fini(struct l2_object *o)
{
    free(o->xattrs.data);
    o->xattrs = (struct l2_xattrs){0};
}
