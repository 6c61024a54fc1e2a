/* The smallest guest: entered by PVH, it says one byte on the serial port, and halts.  ld -n -Ttext=0x200000 -e begin. */
	.section .note.pvh, "a", @note
	.long 4, 4, 18
	.asciz "Xen"
	.long begin

	.text
	.code32
	.globl begin
begin:
	mov $0x3f8, %dx
	mov $'!', %al
	out %al, %dx
1:	hlt
	jmp 1b
