# `make help` lists what there is. Everything lands in bin/ and out/.

GO      ?= go
VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo unknown)

# One way to build the binary. nethttpomithttp2 leaves HTTP/2 out, which Git
# hosts do not need and which costs 800 kB. Code that runs a few times in an
# update is not inlined (-l), which saves 500 kB; what touches every byte is.
# Functions begin at multiples of 4, not 32, which saves 150 kB on amd64.
COLD = net/... vendor/... golang.org/... encoding/... crypto/... math/big fmt \
	os os/... time io io/... path path/... reflect bufio errors context syscall strings bytes strconv unicode unicode/... iter html mime/... internal/poll internal/strconv syscall internal/syscall/... \
	github.com/spf13/... github.com/pelletier/... \
	github.com/godwit-ota/godwit $(addprefix github.com/godwit-ota/godwit/,internal/... cmd/... vfs config app engine gate plan store manifest author publish trust trust/... source/git source/git/wire source/git/lfs source/github/... source/web/... source/dir agent board history report service)
BUILDFLAGS = -tags nethttpomithttp2 -trimpath -buildvcs=false $(COLD:%='-gcflags=%=-l') \
	-ldflags "-s -w -funcalign=4 -X github.com/godwit-ota/godwit/internal/cli.Version=$(VERSION)"

# Largest stripped binaries allowed, in bytes.
LIMIT_AMD64 = 10200000
LIMIT_ARMV6 = 9850000

STATICCHECK = $(GO) run honnef.co/go/tools/cmd/staticcheck@v0.7.0

# The packages that microcontrollers can use as well.
SMALL = $(wildcard gate plan vfs store manifest trust trust/sshsig trust/tagtext source/web engine delta delta/model delta/address delta/otadelta delta/tree delta/inplace)

.PHONY: help build demo test lint fuzz bench proof proof-quick cross dist sizes clean

help: ## list the targets
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1\t\2/p' $(MAKEFILE_LIST) | expand -t 20

BIN = bin
build: ## build bin/godwit for this machine
	CGO_ENABLED=0 $(GO) build $(BUILDFLAGS) -o $(BIN)/godwit ./cmd/godwit

demo: build ## the whole story on this machine, in under a minute
	bin/godwit demo

test: ## run all tests, with the race detector where there is a C compiler
	@if command -v "$$($(GO) env CC)" >/dev/null; then race=-race; \
	else race=; echo "make test: no C compiler ($$($(GO) env CC)), so WITHOUT the race detector"; fi; \
	echo "$(GO) test $$race -shuffle=on -timeout=25m ./..."; $(GO) test $$race -shuffle=on -timeout=25m ./...

lint: ## gofmt, vet and staticcheck, in all modules
	@unformatted=$$(git ls-files '*.go' | xargs gofmt -l); [ -z "$$unformatted" ] || { echo "gofmt would change:"; echo "$$unformatted"; exit 1; }
	$(GO) vet ./...
	$(GO) build -tags=tinygo . $(addprefix ./,$(SMALL))
	$(STATICCHECK) ./...
	@for m in $$(git ls-files '*/go.mod'); do \
		d=$$(dirname $$m); echo "in $$d: go vet, staticcheck"; \
		(cd $$d && $(GO) vet ./... && $(STATICCHECK) ./...) || exit 1; done

# What is interesting is hardly minimized: that would take nearly all of the time.
FUZZTIME ?= 20s
fuzz: ## run every fuzz test for FUZZTIME (20s) each
	@for p in $$(git grep -l '^func Fuzz' -- '*_test.go' | xargs -n1 dirname | sort -u); do \
		for f in $$(sed -n 's/^func \(Fuzz[A-Za-z0-9_]*\).*/\1/p' $$p/*_test.go); do \
			echo "$$p $$f"; $(GO) test -run '^$$' -fuzz "^$$f\$$" -fuzztime $(FUZZTIME) -fuzzminimizetime 10x ./$$p || exit 1; done; done

bench: build ## bytes, memory and speed against git and go-git, side by side
	cd bench && $(GO) run . -godwit ../bin/godwit $(BENCH)

proof: build ## hundreds of power cuts, every kill point, bad links; some hours
	GODWIT_CRASH=all GODWIT_KILL=all $(GO) test -count=1 -timeout 4h -v -run 'Crash|Kill' ./store ./proof/kill
	GODWIT_SOAK=365 $(GO) test -count=1 -timeout 30m -v -run Soak ./proof/soak
	$(GO) run ./proof/powercut $(PROOF)
	$(GO) run ./proof/links $(LINKS)

proof-quick: build ## a few power cuts on each file system; about 3 minutes
	$(GO) test -count=1 -v -run Soak ./proof/soak
	$(GO) run ./proof/powercut -quick $(PROOF)
	$(GO) run ./proof/links -quick $(LINKS)

# name:GOOS:GOARCH:variant:limit in bytes
TARGETS = \
	linux-amd64:linux:amd64:GOAMD64=v1:$(LIMIT_AMD64) \
	linux-arm64:linux:arm64:GOARM64=v8.0:- \
	linux-armv6:linux:arm:GOARM=6:$(LIMIT_ARMV6) \
	linux-mipsle:linux:mipsle:GOMIPS=softfloat:-

cross: ## build for all targets into out/dist
	@mkdir -p out/dist; for t in $(TARGETS); do \
		IFS=: read -r name os arch variant limit <<< "$$t"; \
		env CGO_ENABLED=0 GOOS=$$os GOARCH=$$arch $$variant \
			$(GO) build $(BUILDFLAGS) -o out/dist/godwit-$$name ./cmd/godwit || exit 1; done

# The devices that there are packages for, and beside TARGETS more of them.
DIST = $(TARGETS) \
	linux-armv7:linux:arm:GOARM=7:- \
	linux-riscv64:linux:riscv64:GORISCV64=rva20u64:-

dist: ## make .deb, .rpm, .apk, .ipk and .tar.gz for all devices in out/dist
	@$(MAKE) --no-print-directory cross TARGETS="$(DIST)"
	@cd dist && $(GO) run . -version "$(VERSION)" -epoch "$${SOURCE_DATE_EPOCH:-$$(git log -1 --format=%ct)}" \
		-binaries ../out/dist -out ../out/dist

sizes: cross ## report the size of each binary and hold the limits
	@bad=0; for t in $(TARGETS); do \
		IFS=: read -r name os arch variant limit <<< "$$t"; \
		size=$$(wc -c < out/dist/godwit-$$name); verdict="no limit"; \
		if [ $$limit != - ]; then verdict="limit $$limit"; \
			if [ $$size -gt $$limit ]; then verdict="$$verdict  TOO LARGE by $$((size-limit))"; bad=1; fi; fi; \
		printf '%-14s %9d bytes  %s\n' $$name $$size "$$verdict"; done; exit $$bad

clean: ## remove bin/ and out/
	rm -rf bin out

SHELL = bash
