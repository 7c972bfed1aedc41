#!/bin/sh
# The example job: says hello, what it was given, and what it can see.
set -eu
echo "hola desde $(uname -s), trabajo ${TRABAJO_KEY:-?}, intento ${TRABAJO_ATTEMPT:-?}"
echo "commit ${TRABAJO_COMMIT:-?} en $(pwd)"
for i in 1 2 3; do
    echo "paso $i de 3"
done
echo "uid $(id -u), $(find . -type f -not -path './.git/*' | wc -l) ficheros"
