// What people read in the ledger's JSON: outcomes and the observer's reasons in their language, and why a job waits as a
// sentence.
#pragma once

#include "frontend/text.h"

// text: a job, or an array of them; its language: an index into text_languages. To be freed.
char *say_jobs(size_t language, const char *text) MUST_USE;
// text: what GET /api/v1/scale answers. To be freed.
char *say_scale(size_t language, const char *text) MUST_USE;
