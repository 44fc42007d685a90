package kernels

import "github.com/warpscope/warpscope/cuda"

// Demo is the family of the demo's training loop; see demo.cu.
func Demo() Family { return Family{"demo"} }

// DemoKernels are the names of the kernels in the family.
func DemoKernels() []string {
	return []string{"demo_saxpy", "demo_matmul", "demo_matmul_grad", "demo_layernorm", "demo_loss", "demo_adamw"}
}

// Threads a block, one element a thread; and the side of a block of a matrix.
const (
	line   = 256
	square = 16
)

// blocks is how many blocks of size threads cover n elements.
func blocks(n, size int) uint32 { return uint32((n + size - 1) / size) }

func perElement(kernel string, n int, args ...cuda.Arg) Launch {
	return Launch{
		Kernel: kernel,
		Config: cuda.LaunchConfig{Grid: cuda.Dim{blocks(n, line)}, Block: cuda.Dim{line}},
		Args:   append([]cuda.Arg{cuda.Int32(int32(n))}, args...),
	}
}

func perMatrix(kernel string, m, n int, args ...cuda.Arg) Launch {
	return Launch{
		Kernel: kernel,
		Config: cuda.LaunchConfig{Grid: cuda.Dim{blocks(n, square), blocks(m, square)}, Block: cuda.Dim{square, square}},
		Args:   append([]cuda.Arg{cuda.Int32(int32(m)), cuda.Int32(int32(n))}, args...),
	}
}

// Saxpy adds a times x to out, n floats each.
func Saxpy(n int, a float32, x, out cuda.Pointer) Launch {
	return perElement("demo_saxpy", n, cuda.Float32(a), cuda.Address(x), cuda.Address(out))
}

// Matmul is c[m][n] = a[m][k] times b[k][n], or times the transpose of b[n][k].
func Matmul(m, n, k int, transposed bool, a, b, c cuda.Pointer) Launch {
	t := int32(0)
	if transposed {
		t = 1
	}
	return perMatrix("demo_matmul", m, n, cuda.Int32(int32(k)), cuda.Int32(t), cuda.Address(a), cuda.Address(b), cuda.Address(c))
}

// MatmulGrad is g[m][n] = the transpose of a[k][m] times b[k][n].
func MatmulGrad(m, n, k int, a, b, g cuda.Pointer) Launch {
	return perMatrix("demo_matmul_grad", m, n, cuda.Int32(int32(k)), cuda.Address(a), cuda.Address(b), cuda.Address(g))
}

// LayerNorm normalises each row of x[rows][columns] into y.
func LayerNorm(rows, columns int, x, y cuda.Pointer) Launch {
	return Launch{
		Kernel: "demo_layernorm",
		Config: cuda.LaunchConfig{Grid: cuda.Dim{uint32(rows)}, Block: cuda.Dim{line}},
		Args:   []cuda.Arg{cuda.Int32(int32(columns)), cuda.Address(x), cuda.Address(y)},
	}
}

// Loss adds the mean squared error of n floats to *loss and writes its gradient.
func Loss(n int, y, target, gradient, loss cuda.Pointer) Launch {
	return perElement("demo_loss", n, cuda.Address(y), cuda.Address(target), cuda.Address(gradient), cuda.Address(loss))
}

// AdamW updates n weights in their step-th step, counted from 1.
func AdamW(n int, rate float32, step int, gradient, first, second, weight cuda.Pointer) Launch {
	return perElement("demo_adamw", n, cuda.Float32(rate), cuda.Int32(int32(step)),
		cuda.Address(gradient), cuda.Address(first), cuda.Address(second), cuda.Address(weight))
}
