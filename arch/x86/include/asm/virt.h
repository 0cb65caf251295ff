/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef _ASM_X86_VIRT_H
#define _ASM_X86_VIRT_H

#include <linux/init.h>
#include <linux/types.h>

typedef void (cpu_emergency_virt_cb)(bool orderly);

#if IS_ENABLED(CONFIG_KVM_X86)
extern bool virt_rebooting;

void __init x86_virt_init(void);

int x86_virt_get_ref(int feature);
void x86_virt_put_ref(int feature);

void x86_virt_register_emergency_callback(cpu_emergency_virt_cb *callback);
void x86_virt_unregister_emergency_callback(cpu_emergency_virt_cb *callback);

void x86_virt_emergency_disable_virtualization_cpu(void);
bool x86_virt_begin_emergency(void);
#else
static inline void x86_virt_init(void) { }
static inline void x86_virt_emergency_disable_virtualization_cpu(void) { }
#endif /* CONFIG_KVM_X86 */

#endif /* _ASM_X86_VIRT_H */
