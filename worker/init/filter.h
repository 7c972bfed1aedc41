// Words for the system call filters that are written by hand, of the programs without libseccomp.
#pragma once

#include <endian.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <stdint.h>

#if defined(__x86_64__)
#define OWN_ARCH AUDIT_ARCH_X86_64
#elif defined(__aarch64__)
#define OWN_ARCH AUDIT_ARCH_AARCH64
#else
#define OWN_ARCH 0
#endif

#define LOAD(offset) BPF_STMT(BPF_LD | BPF_W | BPF_ABS, (uint32_t)(offset))
// The lower half: of descriptors, families, protocols and flags the kernel takes 32 bits.
#define LOAD_ARGUMENT(n)                                                                                                       \
	LOAD(offsetof(struct seccomp_data, args) + (n) * sizeof(uint64_t) + (BYTE_ORDER == BIG_ENDIAN ? sizeof(uint32_t) : 0))
#define GO_ON(n)                    BPF_STMT(BPF_JMP | BPF_JA, n)
#define EQUALS(value, then, other)  BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (uint32_t)(value), then, other)
#define ABOVE(value, then, other)   BPF_JUMP(BPF_JMP | BPF_JGT | BPF_K, (uint32_t)(value), then, other)
#define HAS_BIT(value, then, other) BPF_JUMP(BPF_JMP | BPF_JSET | BPF_K, (uint32_t)(value), then, other)
#define RETURN(action)              BPF_STMT(BPF_RET | BPF_K, action)
