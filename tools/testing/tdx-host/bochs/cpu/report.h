// SPDX-License-Identifier: LGPL-2.1-or-later
//
// Reports what an OS that shares VMX, SVM or a TDX module with others never
// does: each is an error of the OS, though it seldom shows before long.  But one
// kind, model-invariant, is an error of the model of the module.  Every report is
// a line in the log that starts with its kind; tdx_host_model.h says what the
// kinds mean.
//
// Not reported, as they do no harm:
// - VM_HSAVE_PA that is not 0 when EFER.SVME is cleared.  The CPU writes to the
//   area on VMRUN only, and VMRUN needs SVME.
// - A CPU that stops in an NMI handler after a SEAMCALL.  That is how an OS
//   crashes: next comes a reset, or a crash kernel in memory of its own, which
//   never held a line of a TD.

#ifndef BX_REPORT_H
#define BX_REPORT_H

class BX_CPU_C;
struct tdx_owner;

enum bx_report_kind {
  BX_REPORT_VMXOFF_ACTIVE_VMCS,
  BX_REPORT_RESET_ACTIVE_VMCS,
  BX_REPORT_VMCS_ON_TWO_CPUS,
  BX_REPORT_PARKED_UNFLUSHED,
  BX_REPORT_KEXEC_UNFLUSHED,
  BX_REPORT_BLOCKED_INIT,
  BX_REPORT_RESET_BLOCKED_INIT,
  BX_REPORT_SVME_OFF_GIF_0,
  BX_REPORT_OWNED_LOAD,
  BX_REPORT_OWNED_STORE,
  BX_REPORT_POISON_LOAD,
  BX_REPORT_MODEL_INVARIANT,
  BX_REPORT_ASID_SHARED,
  BX_REPORT_KINDS
};

class bx_report_c : public logfunctions {
public:
  bx_report_c();
  ~bx_report_c();

  // VMCSs that the CPU may hold in its caches: active, whatever the launch state
  void vmptrld(BX_CPU_C *cpu, bx_phy_address vmcs);
  void vmclear(BX_CPU_C *cpu, bx_phy_address vmcs);
  void vmxoff(BX_CPU_C *cpu);

  // Lines of a TD that the CPU's caches may hold
  void seamcall(BX_CPU_C *cpu);
  void wbinvd(BX_CPU_C *cpu);
  void sleep(BX_CPU_C *cpu); // until an NMI, SMI, INIT or store to a monitored line

  // Linux leaves for the kernel that kexec loaded by clearing CR4.OSFXSR, which
  // it never does otherwise.  It then writes back the caches and copies the new
  // kernel, within one page of code: the new kernel starts with the first
  // instruction that is fetched from another one.
  void cr4_osfxsr_cleared(BX_CPU_C *cpu);
  void prefetch(BX_CPU_C *cpu) { if (nr_leaving) leave(cpu); }

  void init_arrives(BX_CPU_C *cpu);  // and is pending from now on
  void init_delivered(BX_CPU_C *cpu);

  void svme_cleared(BX_CPU_C *cpu);

  // Bochs tags no TLB entry with an ASID: what a CPU that does would mix up is seen
  // by which VMCB has used the ASID since it was flushed.
  void vmrun(BX_CPU_C *cpu, bx_phy_address vmcb, Bit32u asid, Bit32u tlb_control);

  // An access to a frame that is not the host's, and a load of poison.  cpu is
  // NULL for DMA, which has no poison.
  void owned_access(BX_CPU_C *cpu, bool write, const char *what, bx_phy_address addr,
                    unsigned len, const tdx_owner &owner);
  void poison_consumed(BX_CPU_C *cpu, bx_phy_address line);

  // The OS has asked whether the model is consistent, and it is not.
  void model_invariant(BX_CPU_C *cpu, const char *why);

  // Of all CPUs, by whatever means.  They still are in the state before it.
  void platform_reset(void);

  Bit64u count[BX_REPORT_KINDS]; // since the emulator was started

private:
  void report(BX_CPU_C *cpu, bx_report_kind kind, const char *fmt, ...);
  void active_vmcs(BX_CPU_C *cpu, bx_report_kind kind, const char *event);
  void unflushed(BX_CPU_C *cpu, bx_report_kind kind, const char *event);
  void leave(BX_CPU_C *cpu);

  struct cpu_state {
    bx_phy_address *vmcs;
    unsigned nr_vmcs, max_vmcs;

    enum { CLEAN, UNFLUSHED, REPORTED } caches; // since the last WBINVD

    bool leaving;                 // for another kernel,
    bx_phy_address leaving_from;  // in this page

    bool init_blocked;

    bx_phy_address *asid_vmcb;    // of each ASID, 0: none since it was flushed
    unsigned max_asids;

    void flush_asids(void);
    bool remove(bx_phy_address addr);
    bool contains(bx_phy_address addr) const;
  } state[BX_MAX_SMP_THREADS_SUPPORTED];

  unsigned nr_leaving;
};

extern bx_report_c bx_report;

#endif
