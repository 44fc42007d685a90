// Package demo is the training-like loop of `warpscope demo`: a small perceptron, trained on the GPU through
// package cuda, that does a little of everything that a trace records.
//
// It owns the loop and its own, independent count of what it launched, copied, set, allocated and
// released, by which tests check a trace of it. It never measures and never reads a trace. It takes the driver and
// the capture that it is given; agent/cli imports it and chooses both.
package demo
