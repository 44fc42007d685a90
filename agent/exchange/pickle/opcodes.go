package pickle

// The opcodes that data needs.
const (
	opMark            = '('
	opStop            = '.'
	opNone            = 'N'
	opNewTrue         = 0x88
	opNewFalse        = 0x89
	opInt             = 'I'
	opBinInt          = 'J'
	opBinInt1         = 'K'
	opBinInt2         = 'M'
	opLong            = 'L'
	opLong1           = 0x8a
	opLong4           = 0x8b
	opFloat           = 'F'
	opBinFloat        = 'G'
	opUnicode         = 'V'
	opBinUnicode      = 'X'
	opShortBinUnicode = 0x8c
	opBinUnicode8     = 0x8d
	opString          = 'S'
	opBinString       = 'T'
	opShortBinString  = 'U'
	opEmptyList       = ']'
	opAppend          = 'a'
	opAppends         = 'e'
	opList            = 'l'
	opEmptyTuple      = ')'
	opTuple           = 't'
	opTuple1          = 0x85
	opTuple2          = 0x86
	opTuple3          = 0x87
	opEmptyDict       = '}'
	opDict            = 'd'
	opSetItem         = 's'
	opSetItems        = 'u'
	opGet             = 'g'
	opBinGet          = 'h'
	opLongBinGet      = 'j'
	opPut             = 'p'
	opBinPut          = 'q'
	opLongBinPut      = 'r'
	opMemoize         = 0x94
	opProto           = 0x80
	opFrame           = 0x95

	// These two say what they ask for.
	opGlobal      = 'c'
	opInst        = 'i'
	opStackGlobal = 0x93
)

// refusedName names an opcode that is not for data; "" for a byte that is no opcode at all.
func refusedName(op byte) string {
	switch op {
	case opGlobal:
		return "GLOBAL"
	case opInst:
		return "INST"
	case opStackGlobal:
		return "STACK_GLOBAL"
	case 'R':
		return "REDUCE"
	case 'b':
		return "BUILD"
	case 'o':
		return "OBJ"
	case 0x81:
		return "NEWOBJ"
	case 0x92:
		return "NEWOBJ_EX"
	case 0x82:
		return "EXT1"
	case 0x83:
		return "EXT2"
	case 0x84:
		return "EXT4"
	case 'P':
		return "PERSID"
	case 'Q':
		return "BINPERSID"
	case '0':
		return "POP"
	case '1':
		return "POP_MARK"
	case '2':
		return "DUP"
	case 'B':
		return "BINBYTES"
	case 'C':
		return "SHORT_BINBYTES"
	case 0x8e:
		return "BINBYTES8"
	case 0x96:
		return "BYTEARRAY8"
	case 0x97:
		return "NEXT_BUFFER"
	case 0x98:
		return "READONLY_BUFFER"
	case 0x8f:
		return "EMPTY_SET"
	case 0x90:
		return "ADDITEMS"
	case 0x91:
		return "FROZENSET"
	}
	return ""
}
