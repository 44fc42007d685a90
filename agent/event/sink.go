package event

// Sink takes the parts of a trace in order: definitions before what refers to them. A Sink copies
// what it keeps; the caller reuses its arguments. trace.Writer is one; analyses are others.
type Sink interface {
	// Define adds definitions.
	Define(d *Definitions) error
	// Batch adds events of one process.
	Batch(b *Batch) error
	// Live adds a checkpoint of what one process has allocated.
	Live(l *LiveSet) error
}
