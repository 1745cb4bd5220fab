/* fs_asked.c - directories that somebody waits for while a listing is under way. Any thread. */
#include "fs.h"

char *fs_asked_next(struct fs *f)
{
    char *path;

    if (!atomic_load(&f->n_asked))
        return NULL;
    LOCKED_SCOPE(&f->asked_lock);
    if (!f->n_asked)
        return NULL;
    path = f->asked[0];
    f->n_asked--;
    memmove(f->asked, f->asked + 1, f->n_asked * sizeof(f->asked[0]));
    return path;
}

void fs_list_first(struct adapter *a, const char *dir)
{
    struct fs *f = fs_of(a);
    char *path = strdup(dir);

    LOCKED_SCOPE(&f->asked_lock);
    if (path && f->n_asked < FS_ASKED_MAX)
        f->asked[f->n_asked++] = path;
    else
        free(path);
}

void fs_asked_drop(struct fs *f)
{
    char *path;

    while ((path = fs_asked_next(f)))
        free(path);
}
