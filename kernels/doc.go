// Package kernels carries the compiled CUDA kernels that warpscope itself runs, and says how each is
// launched.
//
// It owns the .cu sources (one file a family), the committed images that build.sh made of them, and the
// launch descriptions: grid, block and arguments for a problem size. It never measures and never
// chooses a problem. agent/demo imports it.
package kernels
