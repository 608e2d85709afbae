/* Answers CPUID for code in which the instruction was replaced by UD2 (see __init__.py), with features left out.
 *
 * PROCESSOR names what is left: "avx2" (no AVX-512, no VNNI) or "avx512" (AVX-512, no VNNI). Loaded by LD_PRELOAD.
 * Bits: Intel 64 and IA-32 Architectures Software Developer's Manual, volume 2A, CPUID, leaf 7.
 */
#define _GNU_SOURCE
#include <cpuid.h>
#include <signal.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <ucontext.h>

#define BIT(n) (1u << (n))

/* Leaf 7.0, EBX, ECX, EDX: F, DQ, IFMA, PF, ER, CD, BW, VL; VBMI, VBMI2, BITALG, VPOPCNTDQ; 4VNNIW, 4FMAPS, VP2INTERSECT, FP16 */
static const uint32_t avx512_ebx = BIT(16) | BIT(17) | BIT(21) | BIT(26) | BIT(27) | BIT(28) | BIT(30) | BIT(31);
static const uint32_t avx512_ecx = BIT(1) | BIT(6) | BIT(12) | BIT(14);
static const uint32_t avx512_edx = BIT(2) | BIT(3) | BIT(8) | BIT(23);
/* 8-bit dot products: AVX512-VNNI; AMX-BF16, AMX-TILE, AMX-INT8; in leaf 7.1 AVX-VNNI and AVX-VNNI-INT8 */
static const uint32_t vnni_ecx = BIT(11), vnni_edx = BIT(22) | BIT(24) | BIT(25);
static const uint32_t avx_vnni_eax = BIT(4), avx_vnni_edx = BIT(4), avx512_bf16_eax = BIT(5);

static int has_avx512;

static void answer(int signal_number, siginfo_t *info, void *context)
{
    greg_t *registers = ((ucontext_t *)context)->uc_mcontext.gregs;
    const unsigned char *at = (const unsigned char *)registers[REG_RIP];
    uint32_t leaf = registers[REG_RAX], part = registers[REG_RCX], eax, ebx, ecx, edx;

    (void)info;
    if (at[0] != 0x0f || at[1] != 0x0b) { /* an illegal instruction of somebody else's */
        signal(signal_number, SIG_DFL);
        return;
    }
    __cpuid_count(leaf, part, eax, ebx, ecx, edx);
    if (leaf == 7 && part == 0) {
        ecx &= ~vnni_ecx;
        edx &= ~vnni_edx;
        if (!has_avx512) {
            ebx &= ~avx512_ebx;
            ecx &= ~avx512_ecx;
            edx &= ~avx512_edx;
        }
    } else if (leaf == 7 && part == 1) {
        eax &= ~avx_vnni_eax;
        edx &= ~avx_vnni_edx;
        if (!has_avx512)
            eax &= ~avx512_bf16_eax;
    }
    registers[REG_RAX] = eax;
    registers[REG_RBX] = ebx;
    registers[REG_RCX] = ecx;
    registers[REG_RDX] = edx;
    registers[REG_RIP] += 2;
}

__attribute__((constructor)) static void install(void)
{
    const char *processor = getenv("PROCESSOR");
    struct sigaction action = {.sa_sigaction = answer, .sa_flags = SA_SIGINFO | SA_NODEFER};

    has_avx512 = processor != NULL && strcmp(processor, "avx512") == 0;
    sigaction(SIGILL, &action, NULL);
}
