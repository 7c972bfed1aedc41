#include "lib/working_set.h"

#include "lib/attr.h"

#include <link.h>
#include <malloc.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/mman.h>
#include <unistd.h>

#define START_MS 5000

// Whether its read-only parts were changed in memory: then the file does not have what they hold.
static bool relocated_text(const struct dl_phdr_info *object) {
	for (ElfW(Half) i = 0; i < object->dlpi_phnum; i++) {
		const ElfW(Phdr) *part = &object->dlpi_phdr[i];
		if (part->p_type != PT_DYNAMIC) continue;
		for (const ElfW(Dyn) *entry = (const void *)(object->dlpi_addr + part->p_vaddr); entry->d_tag != DT_NULL;
			entry++)
			if (entry->d_tag == DT_TEXTREL || (entry->d_tag == DT_FLAGS && entry->d_un.d_val & DF_TEXTREL))
				return true;
	}
	return false;
}

static int trim_object(struct dl_phdr_info *object, size_t size UNUSED, void *arg) {
	uintptr_t page = *(uintptr_t *)arg;
	if (relocated_text(object)) return 0;
	for (ElfW(Half) i = 0; i < object->dlpi_phnum; i++) {
		const ElfW(Phdr) *part = &object->dlpi_phdr[i];
		if (part->p_type != PT_LOAD || part->p_flags & PF_W) continue;
		uintptr_t from = (object->dlpi_addr + part->p_vaddr) & ~(page - 1),
			  to = (object->dlpi_addr + part->p_vaddr + part->p_memsz + page - 1) & ~(page - 1);
		// Where it is refused (the vDSO's page is no file's) nothing is lost.
		(void)madvise((void *)from, to - from, MADV_DONTNEED);
	}
	return 0;
}

void working_set_trim(void) {
	uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE);
	(void)dl_iterate_phdr(trim_object, &page);
	(void)malloc_trim(0);
}

static void start_over(void *arg UNUSED) {
	working_set_trim();
}

void working_set_run(struct loop *loop) {
	struct loop_timer *timer = loop_timer_new(loop, start_over, NULL);
	loop_timer_set(timer, START_MS);
	loop_run(loop);
	loop_timer_free(timer);
}
