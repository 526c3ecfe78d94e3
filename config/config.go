// Package config turns a configuration file into values: godwit.toml, .yaml,
// .yml or .json, all with the same keys, or a file of the reference updater
// with its flat keys, which is translated.
//
// One table (Keys) names every key, its type, its default and its meaning.
// Decoding, the reference in docs/configuration.md and the file that
// `godwit init` writes all come from it. What the values lead to is left to
// the packages that receive them: this one opens nothing but the file itself,
// the list of signers that it names, to see whether it is one, and, when asked
// for a Secret, the file that the secret names.
//
// Invariant: a file that loads holds no key that this version does not act on
// without a Warning that says so.
package config

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/godwit-ota/godwit"
)

// MaxFile is the largest configuration file that is read, in bytes.
const MaxFile = 1 << 20

// Config is the content of a configuration file, with defaults filled in and
// relative paths resolved.
type Config struct {
	File     string   // the file it came from
	Warnings []string // sentences about keys that have no effect yet, and about risks

	Source  Source
	Trust   Trust
	Device  Device
	Tree    Tree
	Limits  Limits
	Patches Patches
	Confirm Confirm
	Hooks   Hooks
	Restart Restart
	When    When
	Board   Board
	Report  Report
	Agent   Agent

	lines map[string]int // "section.key" → line, 0 where the format gives none
}

// Path is a file name; a relative one is resolved against the folder of the
// configuration file.
type Path string

// Size is a number of bytes.
type Size int64

// Command is a program and its arguments. It is empty when nothing was
// configured.
type Command []string

// Shell is the Command that a single string in the file stands for.
func Shell(line string) Command { return Command{"/bin/sh", "-c", line} }

// String gives the command as it stands in the file.
func (c Command) String() string {
	if len(c) == 3 && c[0] == "/bin/sh" && c[1] == "-c" {
		return c[2]
	}
	return strings.Join(c, " ")
}

// Headers are additional HTTP header fields.
type Headers map[string]string

// Labels are what an operator says of a device: key to value.
type Labels map[string]string

// Source says where releases come from.
type Source struct {
	Type                 string // one of SourceTypes
	URL                  string
	Mirrors              []string
	APIURL               string
	Channel, Branch, Tag string
	Token                Secret
	Username             string
	Password             Secret
	Bearer               Secret
	SSHKey               Path
	KnownHosts           Path
	HostKey              string
	CAFile               Path
	Proxy                string
	UserAgent            string
	Headers              Headers
	Timeout              time.Duration
	ConnectTimeout       time.Duration
	Retries              int
	Backoff, MaxBackoff  time.Duration
	Chunk                Size // bytes that are read at once
	Force                bool
	LFS                  bool
	LFSURL               string
}

// Trust says who may say what this device installs.
type Trust struct {
	Mode                        string // "signed", "hmac" or "none"
	AllowedSigners, RevokedKeys Path
	Product                     string
	Threshold                   int
	Key                         Secret
}

// Device says what this device is.
type Device struct {
	ID      string
	Labels  Labels
	Verbose bool
}

// Tree says what is installed where.
type Tree struct {
	Root       Path
	Layout     string // "slots" or "in-place"
	Allow      []string
	Ignore     []string
	Delete     []string
	Shared     []string
	State      string // relative to Root
	Keep       int
	Symlinks   bool
	Submodules string // "refuse" or "skip"
	ErrorFile  string // relative to Root
}

// Limits are what a release may ask of this device; 0 is no limit.
type Limits struct {
	MaxFiles     int
	MaxBytes     Size
	MaxFileBytes Size
	MaxDepth     int
	MinFree      Size // after an update
	RequireFree  Size // before one
	MaxTreeFiles int
	MaxTreeBytes Size
}

// Patches says when patches come in the place of whole files.
type Patches struct {
	Use     string // "auto", "always" or "never"
	Memory  string // a tier of package delta; "" by the device's memory
	Metered bool   // the link is slow, or costs by the byte
}

// Confirm says how a new version proves that it works.
type Confirm struct {
	Command     Command
	URL         string
	Unit        string
	Application bool
	Within      time.Duration
	Interval    time.Duration
	Stable      time.Duration
	Boots       int
}

// Hooks are executables that run around a switch.
type Hooks struct {
	PreSwitch, PostSwitch, PostRollback Command
	Timeout                             time.Duration
}

// Restart says how the application beside the tree is restarted.
type Restart struct {
	Command Command
	Unit    string
	Signal  string
	PIDFile Path
	Process string
	Reboot  bool
	Timeout time.Duration
}

// When says when the agent asks, downloads and installs. What the fields mean is
// what those of gate.Rules do.
type When struct {
	MinInterval                 time.Duration
	InstallHours, DownloadHours []string // see gate.ParseHours
	Timezone                    string   // of the IANA database; "" is the device's
	Solar                       bool
	SolarHours                  string
	MinBattery                  int // percent, to install
	MinBatteryDownload          int
	ChargingPasses              bool
	MaxCrashes                  int
	Rollout                     int // percent of devices
	Metered                     string
	MonthlyBytes                Size
	CostPerMB                   float64 // US dollars
	BusyCommand                 Command
	BusyFile                    Path
	BusyDownload                bool
	MinMemory                   Size
	MinCPUMHz                   int
	MaxTemperature              int // degrees Celsius
	Strict                      bool
}

// Board says what of the device's hardware is used.
type Board struct {
	LED                       string
	Battery                   string // a power supply
	BatteryADC                string
	BatteryRatio              float64
	BatteryFull, BatteryEmpty float64 // volts
	Watchdog                  time.Duration
	WatchdogDevice            string
}

// Report says where reports on updates go.
type Report struct {
	To       []string
	Key      Path
	User     string
	Password Secret
	Token    Secret
}

// Agent is for the service, `godwit agent`.
type Agent struct {
	Every       time.Duration
	MetricsFile Path
	Listen      string
	Memory      Size // a soft limit of what it takes; 0 is by what the device has
	History     int  // crashes, and errors, that are kept
}

// Options change how a file is loaded.
type Options struct {
	// Root replaces tree.root, which then need not be in the file.
	Root string
}

// Names are the file names that Find looks for in the working directory, and
// ReferenceNames those after them: the reference updater's.
var (
	Names          = []string{"godwit.toml", "godwit.yaml", "godwit.yml", "godwit.json"}
	ReferenceNames = []string{"ota_config.json", "ota_config.yaml", "ota_config.yml", "ota_config.toml"}
)

// SystemFile is where Find looks last.
const SystemFile = "/etc/godwit/godwit.toml"

// Find returns the configuration file to use: flag if it is not empty, else
// $GODWIT_CONFIG, else the first of Names and ReferenceNames in the folder dir,
// else SystemFile.
func Find(flag, dir string, getenv func(string) string) (string, error) {
	if flag != "" {
		return flag, nil
	}
	if f := getenv("GODWIT_CONFIG"); f != "" {
		return f, nil
	}
	for _, n := range slices.Concat(Names, ReferenceNames) {
		n = filepath.Join(dir, n)
		if _, err := os.Stat(n); err == nil {
			return n, nil
		}
	}
	if _, err := os.Stat(SystemFile); err == nil {
		return SystemFile, nil
	}
	return "", godwit.Fail(godwit.CodeConfig, nil,
		"no configuration file: looked for godwit.toml, .yaml, .yml and .json and for ota_config.* here, and for "+SystemFile,
		"write one with `godwit init`, or name one with --config or GODWIT_CONFIG")
}

// Load reads the configuration file name. Everything that is wrong with it is
// in the error, one *godwit.Error for each problem, joined, all with
// godwit.CodeConfig.
func Load(name string, o Options) (*Config, error) {
	b, err := readFile(name)
	if err != nil {
		return nil, err
	}
	return Parse(name, b, o)
}

func readFile(name string) ([]byte, error) {
	f, err := os.Open(name)
	if err == nil {
		defer f.Close()
		var b []byte
		b, err = io.ReadAll(io.LimitReader(f, MaxFile+1))
		if err == nil && len(b) > MaxFile {
			return nil, godwit.Fail(godwit.CodeConfig, nil, name+" is larger than 1 MiB, which is no configuration file", "")
		}
		if err == nil {
			return b, nil
		}
	}
	hint := ""
	if errors.Is(err, fs.ErrNotExist) {
		hint = "write one with `godwit init --config " + name + "`"
	}
	var pe *fs.PathError
	if errors.As(err, &pe) {
		err = pe.Err
	}
	return nil, godwit.Fail(godwit.CodeConfig, err, "cannot read the configuration file "+name, hint)
}

// Parse is Load with the file's content in b. The extension of name decides
// the format; relative paths are resolved against its folder.
func Parse(name string, b []byte, o Options) (*Config, error) {
	var parse func([]byte) (*node, error)
	switch ext := strings.ToLower(filepath.Ext(name)); ext {
	case ".toml":
		parse = parseTOML
	case ".yaml", ".yml":
		parse = parseYAML
	case ".json":
		parse = parseJSON
	default:
		return nil, godwit.Fail(godwit.CodeConfig, nil,
			"the configuration file "+name+" has an extension that says nothing about its format",
			"name it godwit.toml, godwit.yaml or godwit.json")
	}
	root, err := parse(b)
	if err != nil {
		var s *syntaxError
		line := 0
		if errors.As(err, &s) {
			line = s.line
		}
		hint := ""
		if strings.HasPrefix(err.Error(), "this is not ") && line > 0 { // not the line itself: it may hold a secret
			hint = "look at that line and the one before; `godwit init` writes a file to compare with"
		}
		return nil, godwit.Fail(godwit.CodeConfig, nil, place(name, line)+err.Error(), hint)
	}
	c := &Config{File: name}
	d := decoder{c: c, file: name, options: o}
	if isReference(name, root) {
		d.reference(root)
	} else {
		d.decode(root)
	}
	d.check()
	if len(d.problems) > 0 {
		return nil, errors.Join(d.problems...)
	}
	return c, nil
}

// place is the prefix of a message about a line of a file.
func place(file string, line int) string {
	if line <= 0 {
		return file + ": "
	}
	return file + ":" + strconv.Itoa(line) + ": "
}

// dir is the folder that relative paths start from.
func (c *Config) dir() string {
	d, err := filepath.Abs(filepath.Dir(c.File))
	if err != nil {
		return filepath.Dir(c.File)
	}
	return d
}
