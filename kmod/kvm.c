// SPDX-License-Identifier: GPL-2.0-only
#include <linux/delay.h>
#include <linux/file.h>
#include <linux/kvm_host.h>
#include <linux/mm.h>
#include <linux/mmu_notifier.h>
#include <linux/pgtable.h>
#include <linux/sched/mm.h>
#include <linux/slab.h>
#include <linux/srcu.h>
#include <linux/tracepoint.h>

#include <asm/cpufeature.h>

#include "compat.h"
#include "kvm.h"
#include "track.h"

/*
 * KVM's own header of this tracepoint (arch/x86/kvm/trace.h) is private to it; the tracepoint is
 * exported. It is reached by every fault of a vCPU that is about the VM's memory, in the thread of
 * that vCPU, inside kvm->srcu, before KVM resolves the fault.
 */
DECLARE_TRACE(kvm_page_fault,
	      TP_PROTO(struct kvm_vcpu *vcpu, u64 fault_address, u64 error_code),
	      TP_ARGS(vcpu, fault_address, error_code));

#define GC_SETTLE_TRIES 100

struct gc_kvm {
	struct kvm *kvm;
	struct gc_track *track;
	struct mmu_notifier notifier; /* of the process that runs the VM */
	bool faults;
};

/*
 * Whether the tracepoint's address is one of the VM's physical ones. In shadow paging it is
 * virtual, and for a nested guest it is physical there (nested paging) or virtual (without).
 */
static bool gc_kvm_address_is_gpa(const struct kvm_vcpu *vcpu)
{
	const struct kvm_mmu *mmu = READ_ONCE(vcpu->arch.mmu);

	return mmu == &vcpu->arch.root_mmu && mmu->root_role.direct;
}

/*
 * npf_interception() (svm.c) gives the tracepoint a page-fault error code, handle_ept_violation()
 * (vmx.c) the exit qualification of the EPT violation, in 6.1 and in 6.12.
 */
static enum gc_kind gc_kvm_fault_kind(u64 error_code)
{
	u64 fetch = boot_cpu_has(X86_FEATURE_SVM) ? PFERR_FETCH_MASK : BIT(2);

	if (error_code & BIT(1))
		return GC_KIND_WRITE;
	return error_code & fetch ? GC_KIND_EXEC : GC_KIND_READ;
}

static void gc_kvm_fault(void *data, struct kvm_vcpu *vcpu, u64 address, u64 error_code)
{
	gfn_t gfn = address >> PAGE_SHIFT;
	struct gc_kvm *hook = data;
	struct kvm_memory_slot *slot;

	if (vcpu->kvm != hook->kvm)
		return;
	if (!gc_kvm_address_is_gpa(vcpu)) {
		gc_track_unresolved(hook->track);
		return;
	}
	slot = __gfn_to_memslot(kvm_vcpu_memslots(vcpu), gfn);
	/* No memory, but a device; or a slot that is being moved or deleted: a fault to come. */
	if (!slot || slot->flags & KVM_MEMSLOT_INVALID)
		return;
	gc_track_fault(hook->track, __gfn_to_hva_memslot(slot, gfn), gc_kvm_fault_kind(error_code),
		       vcpu->vcpu_id);
}

/* The process's MMU notifier */

static int gc_kvm_invalidate_range_start(struct mmu_notifier *notifier,
					 const struct mmu_notifier_range *range)
{
	struct gc_kvm *hook = container_of(notifier, struct gc_kvm, notifier);

	/* munmap(2) and mremap(2); anything else leaves the memory where it is. */
	if (range->event == MMU_NOTIFY_UNMAP)
		gc_track_unmapped(hook->track, range->start, range->end);
	return 0;
}

static void gc_kvm_release(struct mmu_notifier *notifier, struct mm_struct *mm)
{
	gc_track_gone(container_of(notifier, struct gc_kvm, notifier)->track);
}

static const struct mmu_notifier_ops gc_kvm_notifier_ops = {
	.invalidate_range_start = gc_kvm_invalidate_range_start,
	.release = gc_kvm_release,
};

/* Pins the VM behind a file descriptor. */
static struct kvm *gc_kvm_get(int fd)
{
	struct file *file = fget(fd);
	struct kvm *kvm;

	if (!file)
		return ERR_PTR(-EBADF);
	kvm = file_is_kvm(file) ? file->private_data : ERR_PTR(-ENODEV);
	/* The file holds a reference, so that there is one to be had. */
	if (!IS_ERR(kvm))
		kvm_get_kvm(kvm);
	fput(file);
	return kvm;
}

/*
 * Whether a vCPU has page tables of shadow paging. Before its guest has turned paging on, a vCPU's
 * are direct there too; what follows is then counted as unresolved.
 */
static bool gc_kvm_shadows(struct kvm *kvm)
{
	struct kvm_vcpu *vcpu;
	unsigned long i;

	kvm_for_each_vcpu(i, vcpu, kvm) {
		union kvm_mmu_page_role role = READ_ONCE(vcpu->arch.root_mmu.root_role);

		if (role.word && !role.direct)
			return true;
	}
	return false;
}

static int gc_kvm_hook(struct gc_kvm *hook)
{
	struct mm_struct *mm = hook->kvm->mm;
	int err;

	if (gc_kvm_shadows(hook->kvm))
		return -EOPNOTSUPP;
	if (!mmget_not_zero(mm))
		return -ESRCH;
	err = mmu_notifier_register(&hook->notifier, mm);
	mmput(mm);
	if (err || !hook->faults)
		return err;
	err = register_trace_kvm_page_fault(gc_kvm_fault, hook);
	if (err)
		mmu_notifier_unregister(&hook->notifier, mm);
	return err;
}

int gc_kvm_attach(struct gc_kvm **hook, int fd, struct gc_track *track, bool faults)
{
	struct gc_kvm *new;
	int err;

	new = kzalloc(sizeof(*new), GFP_KERNEL_ACCOUNT);
	if (!new)
		return -ENOMEM;
	new->track = track;
	new->faults = faults;
	new->notifier.ops = &gc_kvm_notifier_ops;
	new->kvm = gc_kvm_get(fd);
	err = PTR_ERR_OR_ZERO(new->kvm);
	if (err)
		goto free;
	*hook = new;
	err = gc_kvm_hook(new);
	if (err)
		goto put;
	return 0;

put:
	kvm_put_kvm(new->kvm);
free:
	kfree(new);
	return err;
}

void gc_kvm_detach(struct gc_kvm *hook)
{
	if (hook->faults) {
		unregister_trace_kvm_page_fault(gc_kvm_fault, hook);
		tracepoint_synchronize_unregister();
	}
	mmu_notifier_unregister(&hook->notifier, hook->kvm->mm);
	kvm_put_kvm(hook->kvm);
	kfree(hook);
}

/*
 * From the tracepoint until it samples the notifier's sequence (kvm_faultin_pfn(),
 * arch/x86/kvm/mmu/mmu.c) a fault does not see that its page is zapped. It is all the while inside
 * kvm->srcu, and waits for nothing there but memory for page tables.
 */
void gc_kvm_settle(struct gc_kvm *hook)
{
	struct srcu_struct *srcu = &hook->kvm->srcu;
	unsigned long cookie = start_poll_synchronize_srcu(srcu);
	unsigned int tries;

	for (tries = 0; tries < GC_SETTLE_TRIES; tries++) {
		if (poll_state_synchronize_srcu(srcu, cookie))
			break;
		usleep_range(200, 400);
	}
}

/*
 * KVM's own notifier, and no other, is told that the range goes away: the process keeps its
 * mapping. The VM is pinned, so that the notifier is registered.
 */
void gc_kvm_zap(struct gc_kvm *hook, u64 address, u64 length)
{
	struct mmu_notifier *kvm_notifier = &hook->kvm->mmu_notifier;
	struct mmu_notifier_range range;

	gc_notifier_range_init(&range, hook->kvm->mm, address, address + length);
	kvm_notifier->ops->invalidate_range_start(kvm_notifier, &range);
	kvm_notifier->ops->invalidate_range_end(kvm_notifier, &range);
}

bool gc_kvm_get_memory(struct gc_kvm *hook)
{
	return mmget_not_zero(hook->kvm->mm);
}

void gc_kvm_put_memory(struct gc_kvm *hook)
{
	mmput(hook->kvm->mm);
}

bool gc_kvm_age(struct gc_kvm *hook, u64 address, u64 length)
{
	struct mmu_notifier *kvm_notifier = &hook->kvm->mmu_notifier;

	/* clear_flush_young would flush the TLBs of all vCPUs for each page. */
	return kvm_notifier->ops->clear_young(kvm_notifier, hook->kvm->mm, address,
					      address + length);
}

/* As host_pfn_mapping_level() (arch/x86/kvm/mmu/mmu.c) does. */
unsigned int gc_kvm_host_order(struct gc_kvm *hook, u64 address)
{
	unsigned int order = 0;
	unsigned long flags;
	pgd_t pgd;
	p4d_t p4d;
	pud_t pud;
	pmd_t pmd;

	/* A page table is freed only after every CPU that walks it had interrupts on. */
	local_irq_save(flags);
	pgd = READ_ONCE(*pgd_offset(hook->kvm->mm, address));
	if (pgd_none(pgd))
		goto out;
	p4d = READ_ONCE(*p4d_offset(&pgd, address));
	if (p4d_none(p4d) || !p4d_present(p4d))
		goto out;
	pud = READ_ONCE(*pud_offset(&p4d, address));
	if (pud_none(pud) || !pud_present(pud))
		goto out;
	if (pud_leaf(pud)) {
		order = PUD_SHIFT - PAGE_SHIFT;
		goto out;
	}
	pmd = READ_ONCE(*pmd_offset(&pud, address));
	if (!pmd_none(pmd) && pmd_present(pmd) && pmd_leaf(pmd))
		order = PMD_SHIFT - PAGE_SHIFT;
out:
	local_irq_restore(flags);
	return order;
}
