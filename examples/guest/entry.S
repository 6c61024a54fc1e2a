/*
 * The first instructions.  A PVH loader (QEMU's -kernel, vio run) enters where the note says: 32-bit protected mode, flat
 * segments, no paging, ebx the physical address of struct hvm_start_info.  From here to long mode with the first 4 GiB mapped as
 * they are, and then into C.  Below: the interrupt entries.
 */
	.section .note.pvh, "a", @note
	.balign 4
	.long 4, 8, 18			/* XEN_ELFNOTE_PHYS32_ENTRY */
	.asciz "Xen"
	.quad entry

	.section .text.entry, "ax", @progbits
	.code32
	.global entry
entry:
	cld
	movl	$pml4, %edi
	movl	$page_tables_end, %ecx
	subl	%edi, %ecx
	shrl	$2, %ecx
	xorl	%eax, %eax
	rep stosl
	movl	$pdpt + 3, pml4			/* present, writable */
	movl	$pd + 0x0003, pdpt
	movl	$pd + 0x1003, pdpt + 8
	movl	$pd + 0x2003, pdpt + 16
	movl	$pd + 0x3003, pdpt + 24
	movl	$pd, %edi
	movl	$0x83, %eax			/* a page of 2 MiB */
1:	cmpl	$pd + 0x3000, %edi
	jne	2f
	orl	$0x18, %eax			/* the last GiB is devices: not cached */
2:	movl	%eax, (%edi)
	addl	$8, %edi
	addl	$0x200000, %eax
	cmpl	$pd + 0x4000, %edi
	jne	1b

	movl	%cr4, %eax
	orl	$0x20, %eax			/* PAE */
	movl	%eax, %cr4
	movl	$pml4, %eax
	movl	%eax, %cr3
	movl	$0xc0000080, %ecx		/* EFER: LME */
	rdmsr
	orl	$0x100, %eax
	wrmsr
	movl	%cr0, %eax
	orl	$0x80000001, %eax
	movl	%eax, %cr0
	lgdt	gdt_pointer
	ljmp	$8, $long_mode

	.code64
long_mode:
	movl	$16, %eax
	movl	%eax, %ds
	movl	%eax, %es
	movl	%eax, %ss
	movl	$stack_end, %esp
	movl	%ebx, %edi
	call	guest_main
1:	cli
	hlt
	jmp	1b

/* The second processor begins in real mode at a page below 1 MiB, where interrupt.c puts this; then as above. */
	.balign 16
	.global second_entry
	.global second_entry_end
second_entry:
	.code16
	cli
	lgdtl	%cs:(1f - second_entry)
	movl	%cr0, %eax
	orl	$1, %eax
	movl	%eax, %cr0
	ljmpl	$24, $second_protected
1:	.word	31
	.long	gdt
second_entry_end:
	.code32
second_protected:
	movl	$16, %eax
	movl	%eax, %ds
	movl	%eax, %es
	movl	%eax, %ss
	movl	$second_stack_end, %esp
	movl	%cr4, %eax
	orl	$0x20, %eax			/* PAE */
	movl	%eax, %cr4
	movl	$pml4, %eax
	movl	%eax, %cr3
	movl	$0xc0000080, %ecx		/* EFER: LME */
	rdmsr
	orl	$0x100, %eax
	wrmsr
	movl	%cr0, %eax
	orl	$0x80000001, %eax
	movl	%eax, %cr0
	ljmp	$8, $second_mode
	.code64
second_mode:
	call	guest_second
1:	cli
	hlt
	jmp	1b

/* An entry for each of the first 64 vectors: vector and error code on the stack, as guest_interrupt() reads them. */
	.balign 16
	.global interrupt_entries
interrupt_entries:
	.set	vector, 0
	.rept	64
	.balign 16
	.if vector != 8 && (vector < 10 || vector > 14) && vector != 17 && vector != 21
	pushq	$0
	.endif
	pushq	$vector
	jmp	common
	.set	vector, vector + 1
	.endr
common:
	pushq	%rax
	pushq	%rcx
	pushq	%rdx
	pushq	%rsi
	pushq	%rdi
	pushq	%r8
	pushq	%r9
	pushq	%r10
	pushq	%r11
	cld
	leaq	72(%rsp), %rdi
	call	guest_interrupt			/* the processor aligned the stack before it pushed 5 words; 2 and 9 of ours */
	popq	%r11
	popq	%r10
	popq	%r9
	popq	%r8
	popq	%rdi
	popq	%rsi
	popq	%rdx
	popq	%rcx
	popq	%rax
	addq	$16, %rsp
	iretq

	.section .rodata
	.balign 8
gdt:	.quad	0
	.quad	0x00af9b000000ffff		/* 64-bit code */
	.quad	0x00cf93000000ffff		/* data */
	.quad	0x00cf9b000000ffff		/* 32-bit code */
gdt_pointer:
	.word	31
	.long	gdt
	.long	0				/* lgdt of 32-bit mode reads 6 bytes */

	.section .bss
	.balign 4096
	.global pdpt
pml4:	.skip	4096
pdpt:	.skip	4096
pd:	.skip	4 * 4096
page_tables_end:
	.skip	16384
stack_end:
	.skip	8192
second_stack_end:

	.section .note.GNU-stack, "", @progbits
