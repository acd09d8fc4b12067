// SPDX-License-Identifier: GPL-2.0-only
#include <linux/bits.h>
#include <linux/file.h>
#include <linux/fs.h>
#include <linux/magic.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/mutex.h>
#include <linux/pagemap.h>
#include <linux/shmem_fs.h>

#include <guidecopy.h>

#include "backing.h"
#include "compat.h"

int gc_backing_check(const struct gc_session_create *arg)
{
	bool process = arg->flags & GC_SESSION_PROCESS;

	if (process ? arg->backing_fd != -1 || arg->pid <= 0 : arg->pid)
		return -EINVAL;
	if (!arg->length || !PAGE_ALIGNED(arg->length) || !PAGE_ALIGNED(arg->backing_offset))
		return -EINVAL;
	return arg->length >> PAGE_SHIFT >= GC_MAX_PAGES ? -EFBIG : 0;
}

u64 gc_backing_bytes(const struct gc_session_create *arg)
{
	if (!(arg->flags & GC_SESSION_PROCESS))
		return 0;
	return gc_pageset_bytes(arg->length >> PAGE_SHIFT);
}

static int gc_backing_check_file(struct file *file, u64 offset, u64 length)
{
	struct inode *inode = file_inode(file);
	u64 end;

	if (!(file->f_mode & FMODE_READ))
		return -EBADF;
	if (inode->i_sb->s_magic == HUGETLBFS_MAGIC)
		return -EOPNOTSUPP;
	/* shmem_mapping() is not exported before 6.10. */
	if (inode->i_sb->s_magic != TMPFS_MAGIC || !S_ISREG(inode->i_mode))
		return -ENODEV;
	return check_add_overflow(offset, length, &end) || end > i_size_read(inode) ? -ERANGE : 0;
}

static int gc_backing_init_file(struct gc_backing *backing, int fd, u64 offset, u64 length)
{
	struct file *file = fget(fd);
	int err;

	if (!file)
		return -EBADF;
	err = gc_backing_check_file(file, offset, length);
	if (err) {
		fput(file);
		return err;
	}
	backing->file = file;
	backing->first = offset >> PAGE_SHIFT;
	return 0;
}

/*
 * The operations of files of copies: those of shmem, but for fallocate(), which MADV_REMOVE calls
 * for shared mappings. It would punch a hole that later reads as zeros, as the page counts as
 * copied.
 */
static const struct file_operations *gc_copies_fops(const struct file_operations *shmem)
{
	static struct file_operations fops;
	static DEFINE_MUTEX(lock);

	mutex_lock(&lock);
	if (!fops.owner) {
		fops = *shmem;
		fops.fallocate = NULL;
		fops.owner = THIS_MODULE;
	}
	mutex_unlock(&lock);
	return &fops;
}

static struct file *gc_copies_create(u64 length)
{
	/* NORESERVE: do not account for pages that may never be copied. */
	struct file *file = gc_shmem_file_setup_noreserve("guidecopy", length);

	if (IS_ERR(file))
		return file;
	/* The last fput() drops this reference: a VMA may hold the file longer than the node. */
	__module_get(THIS_MODULE);
	file->f_op = gc_copies_fops(file->f_op);
	/* For an open through /proc/PID/map_files. */
	file_inode(file)->i_fop = file->f_op;
	return file;
}

static int gc_backing_init_process(struct gc_backing *backing, pid_t pid, u64 address, u64 length)
{
	int err;

	err = gc_process_init(&backing->process, pid, address, length);
	if (err)
		return err;
	err = gc_pageset_init(&backing->copied, length >> PAGE_SHIFT);
	if (err)
		goto destroy_process;
	backing->file = gc_copies_create(length);
	err = PTR_ERR_OR_ZERO(backing->file);
	if (err)
		goto destroy_copied;
	return 0;

destroy_copied:
	gc_pageset_destroy(&backing->copied);
destroy_process:
	gc_process_destroy(&backing->process);
	return err;
}

int gc_backing_init(struct gc_backing *backing, const struct gc_session_create *arg)
{
	*backing = (struct gc_backing){ .pages = arg->length >> PAGE_SHIFT };
	init_rwsem(&backing->copies_sem);
	spin_lock_init(&backing->lock);
	if (arg->flags & GC_SESSION_PROCESS)
		return gc_backing_init_process(backing, arg->pid, arg->backing_offset, arg->length);
	return gc_backing_init_file(backing, arg->backing_fd, arg->backing_offset, arg->length);
}

void gc_backing_destroy(struct gc_backing *backing)
{
	fput(backing->file);
	if (gc_backing_is_process(backing)) {
		gc_pageset_destroy(&backing->copied);
		gc_process_destroy(&backing->process);
	}
}

int gc_backing_map(struct gc_backing *backing, struct vm_area_struct *vma)
{
	int err;

	vma->vm_pgoff += backing->first;
	vma_set_file(vma, backing->file);
	err = gc_call_mmap(backing->file, vma);
	if (err)
		return err;
	/* The node replaces open and close, so the file must not rely on its own. */
	if (!vma->vm_ops || !vma->vm_ops->fault || vma->vm_ops->open || vma->vm_ops->close)
		return -ENODEV;
	WRITE_ONCE(backing->ops, vma->vm_ops);
	/*
	 * DONTEXPAND also makes the VMA special: it is never merged with a plain mapping of the
	 * file, and never collapsed into a huge page by khugepaged or MADV_COLLAPSE. NOHUGEPAGE
	 * alone would not do: QEMU calls MADV_HUGEPAGE on all of its RAM. DONTDUMP: a core dump
	 * must not touch every page. MIXEDMAP: for gc_backing_map_page().
	 */
	vm_flags_set(vma, VM_DONTEXPAND | VM_DONTDUMP | VM_NOHUGEPAGE | VM_MIXEDMAP);
	return 0;
}

/* Allocates the page table: not under a page's lock. */
static int gc_backing_fill_pmd(struct vm_fault *vmf)
{
	if (likely(!pmd_none(*vmf->pmd)))
		return 0;
	return apply_to_page_range(vmf->vma->vm_mm, vmf->address & PAGE_MASK, PAGE_SIZE,
				   NULL, NULL);
}

vm_fault_t gc_backing_undo_fault(struct vm_fault *vmf, vm_fault_t ret)
{
	if (ret & VM_FAULT_LOCKED)
		unlock_page(vmf->page);
	put_page(vmf->page);
	vmf->page = NULL;
	return VM_FAULT_NOPAGE;
}

/*
 * finish_fault() (mm/memory.c) would map all of a huge page in the file and hide 511 first touches:
 * in 7.3 always, in 6.1 where the PMD is empty. It still maps the copy of one page that a write to
 * a private mapping makes, and reports a memory error.
 */
vm_fault_t gc_backing_map_page(struct vm_fault *vmf, vm_fault_t ret)
{
	vm_fault_t mapped;

	if ((vmf->flags & FAULT_FLAG_WRITE) && !(vmf->vma->vm_flags & VM_SHARED))
		return ret;
	if (PageHWPoison(vmf->page))
		return ret;
	mapped = vmf_insert_page(vmf->vma, vmf->address & PAGE_MASK, vmf->page) |
		 (ret & VM_FAULT_MAJOR);
	gc_backing_undo_fault(vmf, ret);
	return mapped;
}

static vm_fault_t gc_backing_fault_file(struct gc_backing *backing, struct vm_fault *vmf)
{
	vm_fault_t ret;

	if (gc_backing_fill_pmd(vmf))
		return VM_FAULT_OOM;
	ret = READ_ONCE(backing->ops)->fault(vmf);
	/* With VM_FAULT_RETRY the mmap lock may have been dropped, and the VMA freed. */
	if (ret & (VM_FAULT_ERROR | VM_FAULT_NOPAGE | VM_FAULT_RETRY | VM_FAULT_DONE_COW))
		return ret;
	/*
	 * khugepaged may have freed the page table meanwhile, collapsing the file
	 * (retract_page_tables(), mm/khugepaged.c). It does so under the huge page's lock, which we
	 * hold now, so the PMD is stable. Retry rather than allocate under that lock.
	 */
	if (unlikely(pmd_none(*vmf->pmd)))
		return gc_backing_undo_fault(vmf, ret);
	return ret;
}

vm_fault_t gc_backing_fault(struct gc_backing *backing, struct vm_fault *vmf)
{
	vm_fault_t ret;

	if (!gc_backing_is_process(backing))
		return gc_backing_fault_file(backing, vmf);
	/* Keeps the copy until the page is locked. Without it the file would read as zeros. */
	down_read(&backing->copies_sem);
	if (gc_backing_needs_copy(backing, gc_backing_index(backing, vmf)))
		ret = VM_FAULT_NOPAGE;
	else
		ret = gc_backing_fault_file(backing, vmf);
	up_read(&backing->copies_sem);
	return ret;
}

static int gc_backing_install(struct gc_backing *backing, u64 index, struct page *content)
{
	struct page *page = shmem_read_mapping_page(backing->file->f_mapping, index);

	if (IS_ERR(page))
		return PTR_ERR(page);
	lock_page(page);
	if (gc_backing_needs_copy(backing, index)) {
		/* A new shmem page is zeroed. */
		if (content)
			copy_highpage(page, content);
		set_page_dirty(page);
		spin_lock(&backing->lock);
		gc_pageset_set(&backing->copied, index, 1);
		spin_unlock(&backing->lock);
	}
	unlock_page(page);
	put_page(page);
	return 0;
}

int gc_backing_copy(struct gc_backing *backing, u64 index, bool locked)
{
	struct page *content;
	int err;

	/* Before taking locks of our own, because it takes the mmap lock of the process. */
	err = gc_process_get_page(&backing->process, index, locked, &content);
	if (err)
		return err;
	down_read(&backing->copies_sem);
	err = gc_backing_install(backing, index, content);
	up_read(&backing->copies_sem);
	if (content)
		put_page(content);
	return err;
}

void gc_backing_drain_faults(struct gc_backing *backing, u64 first, u64 count)
{
	pgoff_t index = backing->first + first;
	pgoff_t last = index + count - 1;
	struct folio_batch batch;
	unsigned int i;

	/* Truncation discards copies under the page lock, which waits for faults. */
	if (gc_backing_is_process(backing))
		return;
	/* Pairs with the barrier in gc_node_serve(): we see its page, or it sees our stores. */
	smp_mb();
	folio_batch_init(&batch);
	while (filemap_get_folios(backing->file->f_mapping, &index, last, &batch)) {
		for (i = 0; i < folio_batch_count(&batch); i++) {
			folio_lock(batch.folios[i]);
			folio_unlock(batch.folios[i]);
		}
		folio_batch_release(&batch);
		cond_resched();
	}
}

static void gc_backing_unmap_file(struct gc_backing *backing, u64 first, u64 count)
{
	unmap_mapping_range(backing->file->f_mapping,
			    (loff_t)(backing->first + first) << PAGE_SHIFT,
			    (loff_t)count << PAGE_SHIFT, 0);
}

void gc_backing_unmap(struct gc_backing *backing, u64 first, u64 count)
{
	if (!gc_backing_is_process(backing)) {
		gc_backing_unmap_file(backing, first, count);
		return;
	}
	down_write(&backing->copies_sem);
	spin_lock(&backing->lock);
	gc_pageset_clear(&backing->copied, first, count);
	spin_unlock(&backing->lock);
	gc_backing_unmap_file(backing, first, count);
	shmem_truncate_range(file_inode(backing->file), (loff_t)first << PAGE_SHIFT,
			     ((loff_t)(first + count) << PAGE_SHIFT) - 1);
	up_write(&backing->copies_sem);
}

u64 gc_backing_copied(struct gc_backing *backing)
{
	return gc_backing_is_process(backing) ? READ_ONCE(backing->copied.set) : 0;
}
