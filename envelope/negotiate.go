package envelope

// Negotiate is what a session may use: a pure function of what the runtime
// advertises and what the client proposes (CP-1). Booleans meet as CP-2 says,
// extensions are those that both list in the runtime's order, everything else
// known is the runtime's own, and unknown members are dropped. The result
// shares no memory with either argument.
func Negotiate(runtime, client Capabilities) Capabilities {
	out := Capabilities{
		HeartbeatRecovery: runtime.HeartbeatRecovery,
		BinaryEncoding:    append([]string(nil), runtime.BinaryEncoding...),
		Extensions:        common(runtime.Extensions, client.Extensions),
		Agents:            runtime.Agents.clone(),
	}
	if runtime.ArtifactRetention != nil {
		out.ArtifactRetention = new(*runtime.ArtifactRetention)
	}
	ours, theirs, both := runtime.flags(), client.flags(), out.flags()
	for i := range both {
		*both[i] = meet(*ours[i], *theirs[i])
	}
	return out
}

// flags lists the twelve booleans in the order of section 3.2.
func (c *Capabilities) flags() [12]**bool {
	return [12]**bool{
		&c.Streaming, &c.DurableJobs, &c.Checkpoints, &c.BinaryStreams,
		&c.AgentHandoff, &c.ModelUse, &c.ProvisionedCredentials, &c.Artifacts,
		&c.Subscriptions, &c.ScheduledJobs, &c.Interrupt, &c.Anonymous,
	}
}

// meet is the table of CP-2: absent only when neither side speaks of it.
func meet(a, b *bool) *bool {
	if a == nil && b == nil {
		return nil
	}
	return new(a != nil && *a && b != nil && *b)
}

func common(ours, theirs []string) []string {
	listed := make(map[string]bool, len(theirs))
	for _, name := range theirs {
		listed[name] = true
	}
	var both []string
	for _, name := range ours {
		if listed[name] {
			both = append(both, name)
		}
	}
	return both
}

func (a *Agents) clone() *Agents {
	if a == nil {
		return nil
	}
	out := &Agents{Flat: append([]string(nil), a.Flat...)}
	for _, agent := range a.Rich {
		agent.Versions = append([]string(nil), agent.Versions...)
		out.Rich = append(out.Rich, agent)
	}
	return out
}
