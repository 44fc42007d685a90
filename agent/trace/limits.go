package trace

// What a reader takes from a file at most, whatever the file declares. A writer stays below. Part
// of the format: proto/README.md lists them.
const (
	maxPayload = 32 << 20 // bytes of a payload, as stored and decompressed
	maxControl = 4 << 20  // the same, for frames that are neither batches nor live sets
	maxRows    = 1 << 18  // of all tables of one frame
	maxDefined = 1 << 16  // definitions of one sort in one frame
	maxEntries = 1 << 13  // entries in one index frame
)

// What a reader keeps or hands out of one file, all frames together.
const (
	maxStrings    = 1 << 22
	maxLaunches   = 1 << 20
	maxFrames     = 1 << 22
	maxStacks     = 1 << 21
	maxGPUs       = 1 << 12
	maxProcesses  = 1 << 16
	maxText       = 1 << 28 // bytes of strings and process descriptions
	maxStackDepth = 1 << 26 // frames of all stacks together
	maxLiveRows   = 1 << 21 // of one live set
	maxIndexed    = 1 << 20 // frames in the index; a longer one is not used
	maxDamages    = 1 << 10 // described one by one in a Report; all are counted
)

// What the writer does, short of the limits.
const (
	writeRows    = 1 << 16 // of one table, flush
	writeTotal   = 1 << 17 // of all tables, flush
	writeDefined = 1 << 13 // definitions of one sort in one frame
	writeText    = 1 << 20 // bytes of definitions in one frame, roughly
	maxString    = 1 << 20 // a longer string is cut
	writeEntries = 1 << 12 // entries in one index frame
)
