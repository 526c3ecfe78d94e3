package cli

import (
	"context"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/pflag"

	"github.com/godwit-ota/godwit"
	"github.com/godwit-ota/godwit/config"
	"github.com/godwit-ota/godwit/service"
)

func (c *command) serviceVerb() verb {
	var kind, self string
	var show, remove bool
	return verb{
		name: "install-service", use: "[--init INIT] [--print] [--remove]", short: "have the agent started at boot",
		long: "Write the files by which this device starts Godwit: `godwit recover` before the application, and `godwit agent` from then on. It is found out what starts services here: systemd, OpenRC, or init scripts as BusyBox and OpenWrt have them. Nothing is enabled or started: what to type is printed.\n\n" +
			"A file in the way that Godwit did not write is left alone, and is an error.",
		examples: []string{"godwit install-service --config /etc/godwit/godwit.toml", "godwit install-service --print --init systemd", "godwit install-service --remove"},
		exits:    []int{0, 1, 2},
		flags: func(f *pflag.FlagSet) {
			f.StringVar(&kind, "init", "", "`INIT`; systemd, openrc or busybox, instead of what is found")
			f.StringVar(&self, "self", "", "`FILE`; the configuration by which Godwit follows its own releases")
			f.BoolVar(&show, "print", false, "print the files, and write nothing")
			f.BoolVar(&remove, "remove", false, "remove the files")
		},
		run: func(context.Context, string) error {
			init := service.Init(kind)
			switch init {
			case "":
				init = service.Detect("/")
			case service.Systemd, service.OpenRC, service.BusyBox:
			default:
				return usageText("--init is systemd, openrc or busybox, not "+kind, "install-service")
			}
			o, err := c.serviceOptions(self)
			if err != nil {
				return err
			}
			files, err := service.Files(init, o)
			if err != nil {
				return err
			}
			if show {
				for _, f := range files {
					c.printer().Printf("# %s\n%s\n", f.Path, f.Content)
				}
				return nil
			}
			do := service.Install
			if remove {
				do = service.Remove
			}
			next, err := do("/", files)
			if err != nil {
				return err
			}
			out := begin("service")
			out.text("init", string(init))
			var paths []string
			for _, f := range files {
				paths = append(paths, f.Path)
			}
			out.add("files", paths)
			out.add("next", next)
			p := c.printer()
			p.Emit(out.done())
			word := "wrote "
			if remove {
				word = "removed "
			}
			for _, f := range paths {
				p.Printf("%s%s\n", word, f)
			}
			if len(next) > 0 {
				p.Printf("now run:\n  %s\n", strings.Join(next, "\n  "))
			}
			return nil
		},
	}
}

// serviceOptions are what the configuration says of the service's files.
func (c *command) serviceOptions(self string) (o service.Options, err error) {
	cfg, err := c.loadConfig()
	if err != nil {
		return o, err
	}
	if o.Binary, err = os.Executable(); err != nil {
		return o, godwit.Fail(godwit.CodeFailed, err, "it cannot be told where godwit itself is", "")
	}
	if o.Config, err = filepath.Abs(cfg.File); err != nil {
		return o, err
	}
	if o.Root, err = filepath.Abs(string(cfg.Tree.Root)); err != nil {
		return o, err
	}
	o.ApplicationUnit = cfg.Restart.Unit
	if o.ApplicationUnit == "" {
		o.ApplicationUnit = cfg.Confirm.Unit
	}
	o.Processes = cfg.Restart.Process != ""
	o.WritePaths = writePaths(cfg)
	if self != "" {
		own, err := config.Load(self, config.Options{})
		if err != nil {
			return o, err
		}
		if o.Self, err = filepath.Abs(string(own.Tree.Root)); err != nil {
			return o, err
		}
		if o.SelfConfig, err = filepath.Abs(self); err != nil {
			return o, err
		}
	}
	return o, nil
}

// writePaths are the folders beside the tree that the agent writes to.
func writePaths(cfg *config.Config) (paths []string) {
	add := func(file string) {
		if file != "" && filepath.IsAbs(file) {
			paths = append(paths, filepath.Dir(file))
		}
	}
	add(string(cfg.Agent.MetricsFile))
	if path, ok := strings.CutPrefix(cfg.Agent.Listen, "unix:"); ok && !strings.HasPrefix(path, "/run/godwit/") {
		add(path)
	}
	for _, to := range cfg.Report.To {
		if path, ok := strings.CutPrefix(to, "file://"); ok {
			add(path)
		}
	}
	if len(cfg.Report.To) > 0 {
		add(string(cfg.Report.Key))
	}
	return paths
}
