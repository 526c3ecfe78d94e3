package author

import (
	"context"
	"strconv"
	"strings"
	"time"

	"github.com/godwit-ota/godwit"
)

// publishable reads a release's tag, which has to be signed, not past its
// Not-After and, if not local, at the remote.
func (r *Repository) publishable(ctx context.Context, version string, local bool) (*Tag, error) {
	ref := "refs/tags/" + version
	if !local {
		there, err := r.remoteRefs(ctx, ref)
		if err != nil {
			return nil, err
		}
		here, err := r.ref(ctx, ref)
		if err != nil {
			return nil, err
		}
		switch {
		case there[ref] == "":
			return nil, refuse("the remote "+r.remote+" has no release "+version, "push it first: git push "+r.remote+" "+ref)
		case here == "":
			if _, err := r.git(ctx, nil, "fetch", "--quiet", "--no-tags", r.remote, ref+":"+ref); err != nil {
				return nil, err
			}
		case here != there[ref]:
			return nil, refuse("the tag "+version+" is another one here than at the remote "+r.remote,
				"look at both; to take the remote's: git fetch --force "+r.remote+" "+ref+":"+ref)
		}
	}
	t, err := r.release(ctx, version)
	if err != nil {
		return nil, err
	}
	if end, bad := time.Parse(time.RFC3339, t.Get("Not-After")); bad == nil && !end.After(r.now()) {
		return nil, refuse("the release "+version+" is over since "+t.Get("Not-After"), "devices would refuse it: release it again, under a higher version")
	}
	if len(t.Keys) == 0 {
		err = godwit.Fail(godwit.CodeUnsigned, nil, "the release "+version+" is not signed with an SSH key", "devices would refuse it: make releases with godwit tag")
	}
	return t, err
}

// present reads the channel as it is: at the remote or, if local, here. A state
// that was made here with Local goes before the one at the remote that it
// follows. expected is what the remote has. Both are nothing if there is no
// channel.
func (r *Repository) present(ctx context.Context, name string, local bool) (s *State, expected string, err error) {
	if name == "" || strings.HasPrefix(name, "-") {
		return nil, "", usage("\"" + name + "\" is no name for a channel")
	}
	if _, err := r.git(ctx, nil, "check-ref-format", channelRefs+name); err != nil || strings.Contains(name, "/") {
		return nil, "", usage("\"" + name + "\" is no name for a channel")
	}
	ref := channelRefs + name
	here, err := r.ref(ctx, ref)
	if err != nil {
		return nil, "", err
	}
	if here != "" {
		if s, err = r.state(ctx, name, here); err != nil {
			return nil, "", err
		}
	}
	if local {
		return s, "", nil
	}
	there, err := r.remoteRefs(ctx, ref)
	if err != nil {
		return nil, "", err
	}
	expected = there[ref]
	if expected == "" {
		s, err = r.lastOnTrail(ctx, name, s)
		return s, "", err
	}
	if expected == here {
		return s, expected, nil
	}
	if _, err := r.git(ctx, nil, "fetch", "--quiet", "--no-tags", r.remote, ref); err != nil {
		return nil, "", err
	}
	theirs, err := r.state(ctx, name, expected)
	if err != nil {
		return nil, "", err
	}
	if s == nil || theirs.Sequence >= s.Sequence {
		s = theirs
		if _, err := r.git(ctx, nil, "update-ref", ref, expected, here); err != nil {
			return nil, "", err
		}
	}
	return s, expected, nil
}

// lastOnTrail gives the last state of a channel that the remote does not show:
// the one with the highest number on its trail, or here if that is later. A
// channel that was deleted goes on from there.
func (r *Repository) lastOnTrail(ctx context.Context, name string, here *State) (*State, error) {
	if err := r.fetchTrail(ctx, name); err != nil {
		return nil, err
	}
	list, err := r.git(ctx, nil, "for-each-ref", "--format=%(objectname)", trailRefs+name+"/")
	if err != nil {
		return nil, err
	}
	last := here
	for id := range strings.FieldsSeq(list) {
		s, err := r.state(ctx, name, id)
		if err == nil && (last == nil || s.Sequence > last.Sequence) {
			last = s
		}
	}
	if last == nil {
		return nil, nil
	}
	trail := trailRefs + name + "/" + strconv.FormatUint(last.Sequence, 10)
	there, err := r.remoteRefs(ctx, trail)
	if err != nil {
		return nil, err
	}
	last.Gone = there[trail] != "" // else it was never there
	if last != here {
		old := ""
		if here != nil {
			old = here.ID
		}
		_, err = r.git(ctx, nil, "update-ref", channelRefs+name, last.ID, old)
	}
	return last, err
}

// state reads one state of a channel.
func (r *Repository) state(ctx context.Context, name, id string) (*State, error) {
	t, err := r.tag(ctx, id)
	if err != nil {
		return nil, godwit.Fail(godwit.CodeOf(err), err, "the channel "+name+" cannot be read", "it is to be made with godwit channel")
	}
	s := &State{Tag: t}
	s.Sequence, err = strconv.ParseUint(t.Get("Sequence"), 10, 63)
	if err != nil || t.Name != "channel/"+name || len(t.Keys) == 0 {
		return nil, godwit.Fail(godwit.CodeBadStatement, nil, "the tag channel/"+name+" is not a signed channel of that name", "delete it, or use another name")
	}
	return s, nil
}

// move writes the next state and publishes it.
func (r *Repository) move(ctx context.Context, name string, before *State, expected, commit string, v values, local bool) (*State, error) {
	next, previous := uint64(1), ""
	if before != nil {
		next, previous = before.Sequence+1, before.ID
		v.set("Previous", before.ID)
		if err := r.notBefore(ctx, before.Tag); err != nil {
			return nil, err
		}
	}
	if v.get("Sequence") == "" {
		v.set("Sequence", strconv.FormatUint(next, 10))
	}
	number := v.get("Sequence")
	var trailers []Trailer
	for _, k := range keys {
		for _, value := range v[k] {
			trailers = append(trailers, Trailer{k, value})
		}
	}
	object, err := r.compose(ctx, "channel/"+name, commit, "Channel "+name+": "+v.get("Release"), trailers)
	if err != nil {
		return nil, err
	}
	id, err := r.write(ctx, object)
	if err != nil {
		return nil, err
	}
	s, err := r.state(ctx, name, id)
	if err != nil {
		return nil, err
	}
	ref, trail := channelRefs+name, trailRefs+name+"/"+number
	if !local {
		if err := r.publish(ctx, s, ref, trail, expected, ""); err != nil {
			return nil, err
		}
	}
	here, err := r.ref(ctx, ref)
	if err == nil && here != "" && here != previous {
		err = refuse("the channel "+name+" was changed here at the same time", "look at it with `godwit channel show "+name+"`, and run it again")
	}
	if err == nil {
		_, err = r.git(ctx, nil, "update-ref", ref, id, here)
	}
	if err == nil {
		_, err = r.git(ctx, nil, "update-ref", trail, id)
	}
	return s, err
}

// publish pushes a state, with its trail where the host takes that. It fails if
// the remote has changed since expected was there, and past on the trail.
func (r *Repository) publish(ctx context.Context, s *State, ref, trail, expected, past string) error {
	lease := "--force-with-lease=" + ref + ":" + expected
	push := func(args ...string) error {
		_, err := r.git(ctx, nil, append([]string{"push", "--quiet", lease}, args...)...)
		return err
	}
	first := push("--atomic", "--force-with-lease="+trail+":"+past, r.remote, s.ID+":"+ref, s.ID+":"+trail)
	if first == nil {
		s.Pushed = true
		return nil
	}
	there, err := r.remoteRefs(ctx, ref, trail)
	if err != nil {
		return err
	}
	if there[ref] != expected || there[trail] != past {
		return refuse("somebody else changed the channel at the same time", "nothing was published: look at it with `godwit channel show`, and run it again")
	}
	if err := push(r.remote, s.ID+":"+ref); err != nil {
		return pushError(first, "the channel cannot be pushed", "nothing was published; look whether you may push tags to "+r.remote)
	}
	s.Pushed, s.Trailless = true, true
	return nil
}

// Show gives the present state of a channel.
func (r *Repository) Show(ctx context.Context, name string, local bool) (*State, error) {
	s, _, err := r.present(ctx, name, local)
	if err == nil && s == nil {
		err = noChannel(name)
	}
	return s, err
}

// fetchTrail brings the past of a channel, as far as the remote keeps it.
func (r *Repository) fetchTrail(ctx context.Context, name string) error {
	trail := trailRefs + name + "/*"
	_, err := r.git(ctx, nil, "fetch", "--quiet", "--no-tags", r.remote, "+"+trail+":"+trail)
	return err
}

// Log gives the states of a channel to each, the newest first, as far as they
// are kept. complete says whether that was all.
func (r *Repository) Log(ctx context.Context, name string, local bool, each func(*State) error) (complete bool, err error) {
	s, err := r.Show(ctx, name, local)
	if err != nil {
		return false, err
	}
	if !local {
		if err := r.fetchTrail(ctx, name); err != nil {
			return false, err
		}
	}
	for {
		if err := each(s); err != nil {
			return false, err
		}
		previous := s.Get("Previous")
		if previous == "" {
			return true, nil
		}
		if _, err := r.git(ctx, nil, "cat-file", "-e", previous); err != nil {
			return false, nil
		}
		if s, err = r.state(ctx, name, previous); err != nil {
			return false, err
		}
	}
}
