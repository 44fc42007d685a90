package kernels

import (
	"fmt"

	"github.com/warpscope/warpscope/cuda"
)

// Launch is a kernel with everything that a launch needs.
type Launch struct {
	Kernel string // its name in the image
	Config cuda.LaunchConfig
	Args   []cuda.Arg
}

// Run starts the launch in the stream; f is the kernel that its name says.
func (l Launch) Run(s *cuda.Stream, f *cuda.Function) error {
	if err := s.Launch(f, l.Config, l.Args...); err != nil {
		return fmt.Errorf("launch %s: %w", l.Kernel, err)
	}
	return nil
}

// Prepare looks the kernel up and allows it the dynamic shared memory that the launch asks for. Once before the first Run.
func (l Launch) Prepare(m *cuda.Module) (*cuda.Function, error) {
	const always = 48 << 10 // every kernel may have that much
	f, err := m.Function(l.Kernel)
	if err == nil && l.Config.Shared > always {
		err = f.SetAttribute(cuda.FuncMaxDynamicShared, int(l.Config.Shared))
	}
	if err != nil {
		return nil, fmt.Errorf("prepare %s: %w", l.Kernel, err)
	}
	return f, nil
}
