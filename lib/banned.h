// Included before everything (Makefile): functions that have no safe use here. `make lint` knows the same list.
#pragma once

#include <pwd.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

// clang may not poison what the fortified headers made a macro.
#undef sprintf
#undef vsprintf
#pragma GCC poison strcpy strcat sprintf vsprintf strtok gets atoi atol atoll atof system popen tmpnam tempnam mktemp
#pragma GCC poison strncpy strncat asctime ctime gmtime localtime sleep usleep vfork getwd
