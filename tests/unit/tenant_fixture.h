/* tenant_fixture.h - an instance with the directories alice and bob. Counts are compared with a walk
 * of the tree that knows nothing of how they are kept. */
#ifndef L2FS_TENANT_FIXTURE_H
#define L2FS_TENANT_FIXTURE_H

#include "tenant.h"
#include "vfsrig.h"

#define QUOTA "user.l2fs.quota"

extern struct vfsrig r;

void setup(void);
void teardown(void);

int set_quota(const char *dir, const char *value);
void assert_quota(const char *dir, const char *value);
/* No file has a second name, and none is being written. */
void assert_counts(void);
uint64_t used(const char *dir); /* a directory with a quota */
size_t tenants(void);           /* with the default one */

#endif
