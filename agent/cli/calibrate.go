package cli

import (
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/warpscope/warpscope/agent/device"
	"github.com/warpscope/warpscope/agent/report"
	"github.com/warpscope/warpscope/agent/session"
	"github.com/warpscope/warpscope/cuda"
)

// newCalibrate is the command that run starts, in a process of its own, to learn what a context takes.
func newCalibrate(env *Env) *cobra.Command {
	return &cobra.Command{
		Use:    session.CalibrateCommand + " [GPU-UUID]",
		Short:  "Measure what a CUDA context takes of a GPU's memory",
		Hidden: true,
		Args:   cobra.MaximumNArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			uuid := ""
			if len(args) > 0 {
				uuid = args[0]
			}
			c, err := calibrate(uuid)
			if err == nil {
				err = report.JSON(env.Stdout, c)
			}
			if env.Exit != nil { // a capture library may have been injected: it gets its turn
				status := statusDone
				if err != nil {
					say(env, err)
					status = statusFailed
				}
				env.Exit(status)
			}
			return err
		},
	}
}

// calibrate makes a context on a GPU, launches a kernel, and reads before and after what NVML says this process has.
func calibrate(uuid string) (*session.Calibration, error) {
	system, err := device.Open()
	if err != nil {
		return nil, err
	}
	defer func() { _ = system.Close() }() // the process ends
	driver, err := cuda.Open("")
	if err != nil {
		return nil, err
	}
	if driver.Simulated() {
		return nil, errors.New("the simulated device holds nothing")
	}
	gpu, err := visible(driver, &uuid)
	if err != nil {
		return nil, err
	}
	context, err := gpu.PrimaryContext()
	if err != nil {
		return nil, err
	}
	c := &session.Calibration{UUID: uuid, Capture: -1}
	err = context.Do(func() error {
		bare, err := own(system, uuid)
		if err != nil {
			return err
		}
		c.Context = bare.Own
		c.Kernels = -1
		launched := launchOne(driver) // it needs the driver's compiler, which may not be installed
		then, err := own(system, uuid)
		if err != nil {
			return err
		}
		if launched == nil {
			c.Kernels = max(then.Own-bare.Own, 0)
		}
		c.Unowned = then.Unowned
		// Others may be allocating: between the two readings of a look, too much can seem to be nobody's.
		for range unownedLooks {
			time.Sleep(unownedPause)
			if again, err := own(system, uuid); err == nil && again.Unowned >= 0 && (c.Unowned < 0 || again.Unowned < c.Unowned) {
				c.Unowned = again.Unowned
			}
		}
		return nil
	})
	return c, errors.Join(err, context.Close())
}

// own reads what this process has of a GPU.
func own(system *device.System, uuid string) (device.Held, error) {
	h, ok := system.Held(uuid)
	switch {
	case !ok:
		return h, fmt.Errorf("NVML knows no GPU %s", uuid)
	case h.Own < 0:
		return h, errors.New("NVML does not say what this process has of the GPU: it numbers processes of another namespace")
	}
	return h, nil
}

// visible returns the GPU with the UUID, or the first one, whose UUID it fills in.
func visible(driver *cuda.Driver, uuid *string) (cuda.Device, error) {
	n, err := driver.DeviceCount()
	if err != nil {
		return cuda.Device{}, err
	}
	for i := range n {
		v, err := driver.Device(i)
		if err != nil {
			return v, err
		}
		id, err := v.UUID()
		if err != nil {
			return v, err
		}
		if *uuid == "" || id.String() == *uuid {
			*uuid = id.String()
			return v, nil
		}
	}
	return cuda.Device{}, fmt.Errorf("no GPU %s is visible", *uuid)
}

// How often what no process holds is looked at again, and how long after the look before.
const (
	unownedLooks = 6
	unownedPause = 20 * time.Millisecond
)

// assertKernel can stop with a failed assertion, as most kernels of frameworks: the driver takes memory for what such code
// calls when the first module that does is loaded. Whether it calls depends on a parameter, so that no compiler leaves it out.
const assertKernel = `.version 6.0
.target sm_52
.address_size 64
.extern .func __assertfail
(
	.param .b64 message,
	.param .b64 file,
	.param .b32 line,
	.param .b64 function,
	.param .b64 size
);
.visible .entry warpscope_assert(.param .u32 n)
{
	.reg .b32 %r<2>;
	.reg .pred %p<2>;
	ld.param.u32 %r1, [n];
	setp.eq.u32 %p1, %r1, 0;
	@%p1 bra done;
	{
		.param .b64 message;
		.param .b64 file;
		.param .b32 line;
		.param .b64 function;
		.param .b64 size;
		st.param.b64 [message], 0;
		st.param.b64 [file], 0;
		st.param.b32 [line], 0;
		st.param.b64 [function], 0;
		st.param.b64 [size], 1;
		call.uni __assertfail, (message, file, line, function, size);
	}
done:
	ret;
}
`

// launchOne launches a kernel that does nothing, and could stop with a failed assertion.
func launchOne(driver *cuda.Driver) error {
	module, err := driver.LoadModule([]byte(assertKernel + "\x00"))
	if err != nil {
		return err
	}
	function, err := module.Function("warpscope_assert")
	if err != nil {
		return err
	}
	config := cuda.LaunchConfig{Grid: cuda.Dim{1}, Block: cuda.Dim{32}}
	if err := driver.DefaultStream().Launch(function, config, cuda.Uint32(0)); err != nil {
		return err
	}
	return driver.Synchronize()
}
