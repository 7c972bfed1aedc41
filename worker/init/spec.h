// What the worker and trabajos-init, the program inside the box, say to each other. Both come from the same build.
//
// The box has one stream socket to the worker. The worker sends one message with the job ('J', and with it as SCM_RIGHTS a
// memfd with the specification, a descriptor of the tree's folder and, where artifacts are wanted, the pipe for them), and later perhaps a 'T' (SIGTERM to all of the job) or
// a 'K' (SIGKILL). The end of the stream means that the worker is gone: the box ends. The box sends lines of JSON:
//
//   {"event":"ready","landlock":n,"errno":n}               the box is made and waits for its job; landlock: the kernel's version, 0:
//                                                          none (errno: why not)
//   {"event":"copied","at_us":n,"files":n,"bytes":n,"skipped":n,"cloned":n}   the tree was copied into the writable layer
//   {"event":"shared","at_us":n}                           overlayfs shows it there, and nothing was copied
//   {"event":"unshared","errno":n,"what":"overlayfs"}      why that could not be; "copied" follows
//   {"event":"started","at_us":n}                          the command was executed
//   {"event":"refused","errno":n,"what":"npm"}             the command could not be executed: the job's own fault
//   {"event":"failed","errno":n,"what":"copy: a/b","tree":true|false}   the box could not go on; tree: the tree's fault
//   {"event":"ended","status":wait status,"at_us":n,"user_us":n,"kernel_us":n,"maxrss_kb":n,"disk_full":true|false,
//     "files_full":true|false,"collecting":true|false}    files_full: a process had all its files open (as far as is seen);
//                                                         collecting: its artifacts are read now, and "collected" follows
//   {"event":"collected"}
//
// Whatever else arrives are complaints of bubblewrap, whose standard error is the same socket.
#pragma once

#include <stdint.h>

// The box's descriptors.
#define SPEC_FD_SOCKET 3
#define SPEC_FD_OUT    4
#define SPEC_FD_ERR    5
#define SPEC_FD_FILTER 6
// Of the box's helpers, where it has them; the first is closed when the job begins.
#define SPEC_FD_WORKSPACE 7
#define SPEC_FD_NETWORK   8
#define SPEC_FD_LAST      8

// Of a job that has egress: the programs, and the name server that the one plays (its own network is 10.0.2.0/24).
#define SPEC_SLIRP      "/usr/bin/slirp4netns"
#define SPEC_NFT        "/usr/sbin/nft"
#define SPEC_NAMESERVER "10.0.2.3"

#define SPEC_MAGIC     0x54524231U // "TRB1"
#define SPEC_BYTES_MAX (8 << 20)
#define SPEC_LINE_MAX  4096

// The writable file system of the box, and the places in it.
#define SPEC_BOX  "/trabajo"
#define SPEC_INIT "/trabajos-init" // in the box's read-only root

struct spec {
	uint32_t magic;
	uint32_t argc, envc, globc;
	uint32_t text_bytes;                      // argc + envc + globc strings, each with its NUL, follow
	uint32_t reserved;                        // 0
	int64_t processes;                        // RLIMIT_NPROC; 0: leave it
	int64_t file_bytes, open_files;           // RLIMIT_FSIZE, RLIMIT_NOFILE
	int64_t cpu_s;                            // RLIMIT_CPU; 0: leave it
	int64_t files_most;                       // inodes in the writable layer, the tree's included
	int64_t disk_bytes;                       // of the tree's copy at most; 0: the file system has its own limit
	int64_t network;                          // 1: egress; 0: none
	int64_t artifacts_bytes, artifacts_files; // at most
	char tree[192];                           // below the worker's trees, for overlayfs; "": it is to be copied
};

// Artifacts come through a pipe, as frames: the head, then `length` bytes. Names are the job's: any bytes but NUL and "/".
enum collect_kind {
	COLLECT_FILE = 1, // payload: its path; number: its size. DATA follow, as many bytes
	COLLECT_DATA,
	COLLECT_SAME, // payload: its path; number: which of the files before (from 0) is the same one by another name
	COLLECT_LEFT, // payload: the path of what was left out; number: why. An unfinished file before it does not count
	COLLECT_END,  // number: how many were left out; without it, it was interrupted
};
enum collect_reason {
	COLLECT_TOO_LARGE, // with what was taken before
	COLLECT_TOO_MANY,
	COLLECT_UNREADABLE,
	COLLECT_NO_FILE, // a link, a pipe, a socket, a device
	COLLECT_BAD_NAME,
	COLLECT_TOO_DEEP,
	COLLECT_UNSEEN, // there is more than is looked at
	COLLECT_REASONS
};
struct collect_head {
	uint32_t kind, length;
	int64_t number;
};
#define COLLECT_DATA_MOST 65536
#define COLLECT_PATH_MOST 1024
#define COLLECT_LEFT_MOST 50 // that are named
