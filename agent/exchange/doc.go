// Package exchange reads what other tools record, so that warpscope can look at it: today the
// traces of PyTorch's profiler (Kineto JSON).
//
// It owns the recognition of such files by their content, and the translation into the event
// model: what a foreign trace does not tell stays unknown, and what the event model does not take
// is counted, never dropped in silence. It streams: memory is bounded whatever the size of the file
// and whatever it declares, and nothing in it is executed. It opens no files and prints nothing. The
// command line imports it; it imports the event model only.
package exchange
