// Package tracecut makes a small trace of a long one: a stretch of time out of its middle, without the paths of the
// machine that it was made on, to be kept as a fixture.
//
// It owns nothing but that. Its command uses it; no package of the product does.
package tracecut
