package config

import "time"

// A Key describes one key of the configuration file.
type Key struct {
	Section, Name string
	// Doc says what the key does: sentences, the first of which stands alone.
	Doc string
	// Example is a value in TOML.
	Example string
	// Choices are the values a string may have; nil for any.
	Choices []string
	// Basic keys are in the file that `godwit init` writes.
	Basic bool
	// Unused keys are accepted with a Warning: they have no effect yet, and the
	// text says why.
	Unused string

	// field points into a Config. Its type is the key's type, and what it holds
	// in a fresh Config from Defaults is the key's default.
	field func(*Config) any
}

// Sections are the sections of the file with a sentence on each, in order.
var Sections = []struct{ Name, Doc string }{
	{"source", "Where releases come from: any Git host, the releases of GitHub, Gitea, Forgejo or GitLab, or a published folder."},
	{"trust", "Who may say what this device installs."},
	{"device", "What this device is, for channels that lead some devices first."},
	{"tree", "What is installed, and where."},
	{"limits", "What a release may ask of this device. A release above a limit is refused before anything is written."},
	{"patches", "When files come as patches: what turns the file that is here into the new one. It is for source.type \"web\", where `godwit publish` makes them. A patch that is of no use is never the end of an update: then all of the file is fetched."},
	{"confirm", "How a new version proves that it works. Until it has, it is on trial, and the old version is kept. Give at most one of command, url, unit and application; without one, a version is confirmed as soon as the switch and the restart have worked."},
	{"hooks", "Programs that run around a switch. A pre_switch that fails stops the update; a post_switch that fails sends the old version back. The output is kept for `godwit status`."},
	{"restart", "How the application is restarted after a switch. Give at most one of command, unit, signal and reboot; without one nothing is restarted."},
	{"agent", "For a service of Godwit's own."},
}

// laterSections are sections of the design that nothing reads yet.
var laterSections = map[string]string{
	"when":  "start `godwit update` when it should run, from a systemd timer for example",
	"link":  "bring the device online before godwit is started",
	"board": "",
}

// SourceTypes are the values of source.type.
var SourceTypes = []string{"git", "github", "gitea", "gitlab", "web"}

// Defaults returns a Config as an empty file would give it.
func Defaults() *Config {
	return &Config{
		Source:  Source{Type: "git", Timeout: 30 * time.Second, ConnectTimeout: 15 * time.Second, Retries: 3, Backoff: time.Second, MaxBackoff: time.Minute},
		Trust:   Trust{Threshold: 1},
		Tree:    Tree{Layout: "slots", State: ".godwit", Keep: 2, Submodules: "refuse"},
		Patches: Patches{Use: "auto"},
		Confirm: Confirm{Within: 2 * time.Minute, Interval: 2 * time.Second, Stable: 10 * time.Second, Boots: 3},
		Hooks:   Hooks{Timeout: time.Minute},
		Restart: Restart{Timeout: time.Minute},
	}
}

// Keys is every key, in the order in which they are documented.
var Keys = []Key{
	{Section: "source", Name: "type", Example: `"git"`, Choices: SourceTypes,
		Doc:   "How url is spoken to. \"git\": Git's own protocol, which every host has and which sends the least. \"github\", \"gitea\" (Forgejo too) and \"gitlab\": the host's API, for releases with a manifest. \"web\": a folder that `godwit publish` wrote, on any web server or on a disk.",
		field: func(c *Config) any { return &c.Source.Type }},
	{Section: "source", Name: "url", Basic: true, Example: `"https://git.example.org/acme/station.git"`,
		Doc:   "The Git repository: https://, http://, ssh://, user@host:path, file:// or a path; for github, gitea and gitlab its address in a browser; for web the address or the path of the folder. Required.",
		field: func(c *Config) any { return &c.Source.URL }},
	{Section: "source", Name: "mirrors", Example: `["https://mirror.example.org/station/"]`,
		Doc:   "web: more places of the same folder, tried in order when url does not answer or sends something wrong.",
		field: func(c *Config) any { return &c.Source.Mirrors }},
	{Section: "source", Name: "api_url", Example: `"https://github.example.org/api/v3"`,
		Doc:   "github, gitea and gitlab: where the API is, when it is not where the host usually has it.",
		field: func(c *Config) any { return &c.Source.APIURL }},
	{Section: "source", Name: "channel", Basic: true, Example: `"stable"`,
		Doc:   "Follow releases. With trust.mode \"signed\": the signed channel of this name, or, for \"stable\" where there is none, the highest signed version tag. Otherwise only \"stable\": the highest version tag (v1.4.0), the host's latest release, or what a folder's channel.json says. Give one of channel, branch and tag; without any, \"stable\" is followed; but where trust.mode is \"none\", a repository's default branch, or the manifest.json of a folder.",
		field: func(c *Config) any { return &c.Source.Channel }},
	{Section: "source", Name: "branch", Basic: true, Example: `"main"`,
		Doc:   "Follow the newest commit of this branch.",
		field: func(c *Config) any { return &c.Source.Branch }},
	{Section: "source", Name: "tag", Basic: true, Example: `"v1.4.0"`,
		Doc:   "Stay on exactly this tag.",
		field: func(c *Config) any { return &c.Source.Tag }},
	{Section: "source", Name: "token", Basic: true, Example: `"env:GODWIT_TOKEN"`,
		Doc:   "An access token, sent as HTTP Basic, or as a host's API wants it. Write \"env:NAME\" or \"file:PATH\" to keep it out of this file.",
		field: func(c *Config) any { return &c.Source.Token }},
	{Section: "source", Name: "username", Example: `"station"`,
		Doc:   "The user name that goes with password or token. Hosts take any name beside a token; it is \"x-access-token\" unless set.",
		field: func(c *Config) any { return &c.Source.Username }},
	{Section: "source", Name: "password", Example: `"file:password"`,
		Doc:   "A password, sent as HTTP Basic with username.",
		field: func(c *Config) any { return &c.Source.Password }},
	{Section: "source", Name: "bearer", Example: `"env:GODWIT_BEARER"`,
		Doc:   "A token that is sent as \"Authorization: Bearer\".",
		field: func(c *Config) any { return &c.Source.Bearer }},
	{Section: "source", Name: "ssh_key", Basic: true, Example: `"/etc/godwit/deploy_key"`,
		Doc:   "The private key for ssh, without a passphrase: a deploy key that can only read. Without it the SSH agent is asked.",
		field: func(c *Config) any { return &c.Source.SSHKey }},
	{Section: "source", Name: "known_hosts", Example: `"/etc/godwit/known_hosts"`,
		Doc:   "The file with the host keys that ssh accepts, as OpenSSH writes it. Default: ~/.ssh/known_hosts and /etc/ssh/ssh_known_hosts.",
		field: func(c *Config) any { return &c.Source.KnownHosts }},
	{Section: "source", Name: "host_key", Example: `"ssh-ed25519 AAAAC3Nza…"`,
		Doc:   "The one host key that ssh accepts, instead of known_hosts.",
		field: func(c *Config) any { return &c.Source.HostKey }},
	{Section: "source", Name: "ca_file", Example: `"/etc/godwit/ca.pem"`,
		Doc:   "Certificates of authorities that https accepts besides those of the system, in PEM.",
		field: func(c *Config) any { return &c.Source.CAFile }},
	{Section: "source", Name: "proxy", Example: `"http://proxy.example.org:3128"`,
		Doc:   "The proxy for http and https. Without it HTTPS_PROXY, HTTP_PROXY and NO_PROXY are read from the environment; \"none\" uses no proxy at all.",
		field: func(c *Config) any { return &c.Source.Proxy }},
	{Section: "source", Name: "user_agent", Example: `"station/7"`,
		Doc:   "What is sent as User-Agent instead of godwit and its version.",
		field: func(c *Config) any { return &c.Source.UserAgent }},
	{Section: "source", Name: "headers", Example: `{ X-Device = "7" }`,
		Doc:   "More HTTP header fields for each request to the host.",
		field: func(c *Config) any { return &c.Source.Headers }},
	{Section: "source", Name: "timeout", Example: `"30s"`,
		Doc:   "How long the host may say nothing. A transfer that moves is never cut off.",
		field: func(c *Config) any { return &c.Source.Timeout }},
	{Section: "source", Name: "connect_timeout", Example: `"15s"`,
		Doc:   "How long a connection may take to be made.",
		field: func(c *Config) any { return &c.Source.ConnectTimeout }},
	{Section: "source", Name: "retries", Example: `3`,
		Doc:   "How often a request that could not be sent is tried.",
		field: func(c *Config) any { return &c.Source.Retries }},
	{Section: "source", Name: "backoff", Example: `"3s"`,
		Doc:   "The pause before the second try. It doubles with each one.",
		field: func(c *Config) any { return &c.Source.Backoff }},
	{Section: "source", Name: "max_backoff", Example: `"1m"`,
		Doc:   "github, gitea, gitlab and web: the longest pause between two tries.",
		field: func(c *Config) any { return &c.Source.MaxBackoff }},
	{Section: "source", Name: "force", Example: `true`,
		Doc:   "Install what the source names even when it runs already, at every `godwit update`: what is missing is fetched, and the application is restarted.",
		field: func(c *Config) any { return &c.Source.Force }},
	{Section: "source", Name: "lfs", Example: `true`,
		Doc:   "Fetch the objects behind Git LFS pointers. Otherwise the pointers themselves are installed, as Git stores them.",
		field: func(c *Config) any { return &c.Source.LFS }},
	{Section: "source", Name: "lfs_url", Example: `"https://lfs.example.org/acme/station"`,
		Doc:   "The LFS server, where it is not the one that goes with url.",
		field: func(c *Config) any { return &c.Source.LFSURL }},

	{Section: "trust", Name: "mode", Basic: true, Example: `"signed"`,
		Doc:   "\"signed\": only releases that an allowed signer signed, with an SSH key. \"hmac\": only manifests made with the shared secret in key. \"none\": nothing checks who made a release, so whoever can push to the repository decides what this device runs. Required.",
		field: func(c *Config) any { return &c.Trust.Mode }},
	{Section: "trust", Name: "allowed_signers", Basic: true, Example: `"/etc/godwit/allowed_signers"`,
		Doc:   "signed: the keys that releases are accepted from, in the format of OpenSSH (ssh-keygen(1), ALLOWED SIGNERS).",
		field: func(c *Config) any { return &c.Trust.AllowedSigners }},
	{Section: "trust", Name: "revoked_keys", Example: `"/etc/godwit/revoked_keys"`,
		Doc:   "signed: keys that count no longer: public keys, one a line, or a list made with `ssh-keygen -k`.",
		field: func(c *Config) any { return &c.Trust.RevokedKeys }},
	{Section: "trust", Name: "product", Basic: true, Example: `"station"`,
		Doc:   "signed, and hmac if it is given: the product that a release must be for. Releases name theirs, so that those of another product, signed with the same key, are refused. \"*\" is for keys that sign nothing else, and takes releases that name none, too.",
		field: func(c *Config) any { return &c.Trust.Product }},
	{Section: "trust", Name: "threshold", Example: `2`,
		Doc:   "signed: how many signers, with as many keys, must have signed a release.",
		field: func(c *Config) any { return &c.Trust.Threshold }},
	{Section: "trust", Name: "key", Example: `"file:/etc/godwit/manifest_key"`,
		Doc:   "hmac: the secret that manifests are made with. It is the same on every device: who has one device can make releases for all, so prefer \"signed\".",
		field: func(c *Config) any { return &c.Trust.Key }},

	{Section: "device", Name: "id", Example: `"station-7"`,
		Doc:   "The name that decides when this device takes a release that goes to a part of the devices first. Default: /etc/machine-id, else the host name; set it where devices were copied from one image, identity included.",
		field: func(c *Config) any { return &c.Device.ID }},
	{Section: "device", Name: "labels", Example: `{ site = "lab" }`,
		Doc:   "What a channel can name this device by, to lead it first: `Wave: site=lab`.",
		field: func(c *Config) any { return &c.Device.Labels }},
	{Section: "device", Name: "verbose", Example: `true`,
		Doc:   "Print details, as --verbose does.",
		field: func(c *Config) any { return &c.Device.Verbose }},

	{Section: "tree", Name: "root", Basic: true, Example: `"/srv/station"`,
		Doc:   "The folder that Godwit installs into. It is made if it is not there. Required, unless --root is given.",
		field: func(c *Config) any { return &c.Tree.Root }},
	{Section: "tree", Name: "layout", Basic: true, Example: `"slots"`, Choices: []string{"slots", "in-place"},
		Doc:   "\"slots\": each version is a folder of its own below versions/, and the link `current` is switched at once. \"in-place\": the files lie in root itself; for FAT, and for trees that also hold other files.",
		field: func(c *Config) any { return &c.Tree.Layout }},
	{Section: "tree", Name: "allow", Basic: true, Example: `["app/", "main.py"]`,
		Doc:   "Install only these files and folders. Without it everything is installed.",
		field: func(c *Config) any { return &c.Tree.Allow }},
	{Section: "tree", Name: "ignore", Basic: true, Example: `["app/tests/"]`,
		Doc:   "Do not install these files and folders. It wins over allow.",
		field: func(c *Config) any { return &c.Tree.Ignore }},
	{Section: "tree", Name: "delete", Example: `["app/plugins/"]`,
		Doc:   "In-place: remove files below these folders that the release does not hold, whoever put them there. Files that Godwit installed are removed without this when a release drops them.",
		field: func(c *Config) any { return &c.Tree.Delete }},
	{Section: "tree", Name: "shared", Example: `["data/", "local.conf"]`,
		Doc:   "Slots: files and folders that all versions share and no release replaces. They lie in shared/ and are linked into each version. A folder is written with a slash at its end and begins empty: move its first content there yourself.",
		field: func(c *Config) any { return &c.Tree.Shared }},
	{Section: "tree", Name: "state", Example: `".godwit"`,
		Doc:   "Godwit's own folder, relative to root and on the same file system.",
		field: func(c *Config) any { return &c.Tree.State }},
	{Section: "tree", Name: "keep", Example: `2`,
		Doc:   "How many versions stay on the disk, counting the running one: 2 to 4. 2 is the least that can roll back.",
		field: func(c *Config) any { return &c.Tree.Keep }},
	{Section: "tree", Name: "symlinks", Example: `true`,
		Doc:   "Install symbolic links that stay within the tree. Otherwise a release that holds one is refused.",
		field: func(c *Config) any { return &c.Tree.Symlinks }},
	{Section: "tree", Name: "submodules", Example: `"refuse"`, Choices: []string{"refuse", "skip"},
		Doc:   "What to do with a release that holds a submodule: refuse it, or install it without.",
		field: func(c *Config) any { return &c.Tree.Submodules }},
	{Section: "tree", Name: "error_file", Example: `"ota_error.json"`,
		Doc:   "A file in root that says, as {\"errors\": […]}, what went wrong with the last update, for the application to read. It is removed when an update has succeeded. In place only.",
		field: func(c *Config) any { return &c.Tree.ErrorFile }},

	{Section: "limits", Name: "max_files", Example: `20000`,
		Doc:   "The most files a release may have.",
		field: func(c *Config) any { return &c.Limits.MaxFiles }},
	{Section: "limits", Name: "max_bytes", Example: `"500 MB"`,
		Doc:   "The most bytes that the files of a release may have together.",
		field: func(c *Config) any { return &c.Limits.MaxBytes }},
	{Section: "limits", Name: "max_file_bytes", Example: `"64 MiB"`,
		Doc:   "The largest file a release may have.",
		field: func(c *Config) any { return &c.Limits.MaxFileBytes }},
	{Section: "limits", Name: "max_depth", Example: `32`,
		Doc:   "How many folders deep a file may lie.",
		field: func(c *Config) any { return &c.Limits.MaxDepth }},
	{Section: "limits", Name: "min_free", Example: `"20 MB"`,
		Doc:   "How much must stay free on the disk after an update.",
		field: func(c *Config) any { return &c.Limits.MinFree }},
	{Section: "limits", Name: "require_free", Example: `"2 MB"`,
		Doc:   "How much must be free on the disk for an update to begin at all.",
		field: func(c *Config) any { return &c.Limits.RequireFree }},
	{Section: "limits", Name: "max_tree_files", Example: `5000`,
		Doc:   "The longest list of files that is read from the source, in entries. Unlike max_files it counts what this device does not install, too.",
		field: func(c *Config) any { return &c.Limits.MaxTreeFiles }},
	{Section: "limits", Name: "max_tree_bytes", Example: `"1 MiB"`,
		Doc:   "The longest list of files that is read from the source, in bytes.",
		field: func(c *Config) any { return &c.Limits.MaxTreeBytes }},

	{Section: "patches", Name: "use", Example: `"auto"`, Choices: []string{"auto", "always", "never"},
		Doc:   "\"auto\": where they save at least 30 % of a file, and with metered wherever they save anything. \"always\": wherever they save anything. \"never\": files are fetched whole.",
		field: func(c *Config) any { return &c.Patches.Use }},
	{Section: "patches", Name: "memory", Example: `"64k"`, Choices: []string{"6k", "64k", "1m"},
		Doc:   "How much memory applying a patch may take. Patches that take more are passed over. The table of a patch for the whole tree is beside that, and may take as much again: 72 bytes a file. Default: \"1m\" on a device with more than 64 MB of memory, else \"64k\".",
		field: func(c *Config) any { return &c.Patches.Memory }},
	{Section: "patches", Name: "metered", Example: `true`,
		Doc:   "The link is slow, or costs by the byte.",
		field: func(c *Config) any { return &c.Patches.Metered }},

	{Section: "confirm", Name: "command", Basic: true, Example: `"/srv/station/current/selftest"`,
		Doc:   "The version works when this command ends with exit code 0. It runs in the tree and is tried again until the time is over. A string goes to `sh -c`; a list is a program and its arguments.",
		field: func(c *Config) any { return &c.Confirm.Command }},
	{Section: "confirm", Name: "url", Basic: true, Example: `"http://127.0.0.1:8080/health"`,
		Doc:   "The version works when this address answers with a 2xx status. It is asked until the time is over.",
		field: func(c *Config) any { return &c.Confirm.URL }},
	{Section: "confirm", Name: "unit", Basic: true, Example: `"station.service"`,
		Doc:   "The version works when this systemd unit stays active, without a restart, for the time in stable.",
		field: func(c *Config) any { return &c.Confirm.Unit }},
	{Section: "confirm", Name: "application", Basic: true, Example: `true`,
		Doc:   "The version works when the application itself runs `godwit confirm`.",
		field: func(c *Config) any { return &c.Confirm.Application }},
	{Section: "confirm", Name: "within", Basic: true, Example: `"2m"`,
		Doc:   "How long the new version has for it. Then the old one comes back.",
		field: func(c *Config) any { return &c.Confirm.Within }},
	{Section: "confirm", Name: "interval", Example: `"2s"`,
		Doc:   "The pause between two tries of command and url.",
		field: func(c *Config) any { return &c.Confirm.Interval }},
	{Section: "confirm", Name: "stable", Example: `"10s"`,
		Doc:   "How long unit has to stay active.",
		field: func(c *Config) any { return &c.Confirm.Stable }},
	{Section: "confirm", Name: "boots", Example: `3`,
		Doc:   "How often the device may boot with a version on trial. Then the old one comes back.",
		field: func(c *Config) any { return &c.Confirm.Boots }},

	{Section: "hooks", Name: "pre_switch", Basic: true, Example: `"systemctl stop station"`,
		Doc:   "Runs before the switch. A string goes to `sh -c`; a list is a program and its arguments.",
		field: func(c *Config) any { return &c.Hooks.PreSwitch }},
	{Section: "hooks", Name: "post_switch", Basic: true, Example: `["./migrate", "--quiet"]`,
		Doc:   "Runs after the switch, in the new tree, before the restart.",
		field: func(c *Config) any { return &c.Hooks.PostSwitch }},
	{Section: "hooks", Name: "post_rollback", Basic: true, Example: `"./migrate --down"`,
		Doc:   "Runs after a version was taken back.",
		field: func(c *Config) any { return &c.Hooks.PostRollback }},
	{Section: "hooks", Name: "timeout", Example: `"1m"`,
		Doc:   "How long a hook may take. Then it is ended, with everything it started.",
		field: func(c *Config) any { return &c.Hooks.Timeout }},

	{Section: "restart", Name: "command", Basic: true, Example: `"supervisorctl restart station"`,
		Doc:   "Run this command. A string goes to `sh -c`; a list is a program and its arguments.",
		field: func(c *Config) any { return &c.Restart.Command }},
	{Section: "restart", Name: "unit", Basic: true, Example: `"station.service"`,
		Doc:   "Restart this systemd unit.",
		field: func(c *Config) any { return &c.Restart.Unit }},
	{Section: "restart", Name: "signal", Basic: true, Example: `"HUP"`,
		Doc:   "Send this signal to the process that pid_file or process names.",
		field: func(c *Config) any { return &c.Restart.Signal }},
	{Section: "restart", Name: "pid_file", Example: `"/run/station.pid"`,
		Doc:   "The file that holds the process number for signal.",
		field: func(c *Config) any { return &c.Restart.PIDFile }},
	{Section: "restart", Name: "process", Example: `"station"`,
		Doc:   "The name of the process for signal. Every process of that name gets it.",
		field: func(c *Config) any { return &c.Restart.Process }},
	{Section: "restart", Name: "reboot", Basic: true, Example: `true`,
		Doc:   "Reboot the device. `godwit recover` must run at boot before the application, and `godwit confirm --wait` after it.",
		field: func(c *Config) any { return &c.Restart.Reboot }},
	{Section: "restart", Name: "timeout", Example: `"1m"`,
		Doc:   "How long a restart may take.",
		field: func(c *Config) any { return &c.Restart.Timeout }},

	{Section: "agent", Name: "every", Example: `"1h"`, Unused: "this version has no service of its own; start `godwit update` from a timer",
		Doc:   "The time between two checks.",
		field: func(c *Config) any { return &c.Agent.Every }},
}

// Required reports whether a file without the key is refused.
func (k Key) Required() bool {
	switch k.Section + "." + k.Name {
	case "source.url", "trust.mode", "tree.root":
		return true
	}
	return false
}

// Type names the key's type for people.
func (k Key) Type() string {
	switch k.field(&Config{}).(type) {
	case *string, *Path:
		if k.Choices != nil {
			return "one of " + orList(k.Choices)
		}
		return "a string"
	case *Secret:
		return "a string"
	case *bool:
		return "true or false"
	case *int:
		return "a whole number"
	case *Size:
		return "a size like \"10 MB\" or \"64 KiB\""
	case *time.Duration:
		return "a duration like \"90s\", \"2m\" or \"1h\""
	case *[]string:
		return "a list of strings"
	case *Command:
		return "a string or a list of strings"
	case *Headers, *Labels:
		return "a table of strings"
	}
	panic("config: " + k.Section + "." + k.Name + " has a field of no known type")
}
