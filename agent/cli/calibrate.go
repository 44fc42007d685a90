package cli

import (
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/warpscope/warpscope/agent/device"
	"github.com/warpscope/warpscope/agent/report"
	"github.com/warpscope/warpscope/agent/session"
	"github.com/warpscope/warpscope/cuda"
	"github.com/warpscope/warpscope/kernels"
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
		if err := launchOne(driver, gpu); err != nil {
			return err
		}
		then, err := own(system, uuid)
		if err != nil {
			return err
		}
		c.Kernels = max(then.Own-bare.Own, 0)
		c.Unowned = then.Unowned
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

// launchOne launches a kernel that has nothing to do, and so takes no memory of its own.
func launchOne(driver *cuda.Driver, gpu cuda.Device) error {
	module, err := kernels.Demo().Load(driver, gpu)
	if err != nil {
		return err
	}
	launch := kernels.Saxpy(0, 1, 0, 0)
	function, err := module.Function(launch.Kernel)
	if err != nil {
		return err
	}
	launch.Config.Grid = cuda.Dim{1}
	if err := driver.DefaultStream().Launch(function, launch.Config, launch.Args...); err != nil {
		return err
	}
	return driver.Synchronize()
}
