// Which names a tree may write: git's own rules (verify_path in git's read-cache.c, its protections for HFS+ and NTFS always on).
#pragma once

// NULL: fine; else what is wrong with the name of one tree entry.
const char *path_fault(const char *name);
