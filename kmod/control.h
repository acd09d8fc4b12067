/* SPDX-License-Identifier: GPL-2.0-only */
/* /dev/guidecopy, the control file of sessions and tracks. */
#ifndef GC_CONTROL_H
#define GC_CONTROL_H

int gc_control_register(void);
void gc_control_unregister(void);

#endif /* GC_CONTROL_H */
