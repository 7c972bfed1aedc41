// The media type of a file by its name. Only for people and programs to choose by: what is downloaded is never shown in place.
#pragma once

const char *artifacts_type(const char *path); // application/octet-stream where the name does not tell
