// One instance through everything that can be asked for it, beside what it is given.
package main

import (
	"context"
	"encoding/base64"
	"time"

	"github.com/vultr/govultr/v3"
)

func until(what string, true func() bool) {
	for deadline := time.Now().Add(time.Minute); !true(); time.Sleep(200 * time.Millisecond) {
		expect(time.Now().Before(deadline), what, "nothing of it after a minute")
	}
}

func settled(ctx context.Context, cloud *govultr.Client, id, power string) *govultr.Instance {
	var now *govultr.Instance
	until("settled instance", func() bool {
		found, _, err := cloud.Instance.Get(ctx, id)
		must(err)
		now = found
		return now.Status == "active" && now.PowerStatus == power && now.ServerStatus != "locked"
	})
	return now
}

func lives(ctx context.Context, cloud *govultr.Client, system int) {
	yes, no := true, false
	key, _, err := cloud.SSHKey.Create(ctx, &govultr.SSHKeyReq{Name: "go", SSHKey: "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIGo go"})
	must(err)
	script, _, err := cloud.StartupScript.Create(ctx, &govultr.StartupScriptReq{
		Name: "go", Script: base64.StdEncoding.EncodeToString([]byte("#!/bin/sh\n")),
	})
	must(err)
	data := base64.StdEncoding.EncodeToString([]byte("#cloud-config\n"))
	made, _, err := cloud.Instance.Create(ctx, &govultr.InstanceCreateReq{
		Region: "ams", Plan: "vc2-1c-1gb", OsID: system, Label: "lives", Hostname: "lives", UserData: data,
		SSHKeys: []string{key.ID}, ScriptID: script.ID, Backups: "enabled", ActivationEmail: &no,
	})
	must(err)
	id := made.ID
	until("booted instance", func() bool {
		now, _, err := cloud.Instance.Get(ctx, id)
		must(err)
		return now.ServerStatus == "ok"
	})

	got, _, err := cloud.Instance.GetUserData(ctx, id)
	must(err)
	expect(got.Data == data, "user data", got)
	empty := ""
	_, _, err = cloud.Instance.Update(ctx, id, &govultr.InstanceUpdateReq{UserData: &empty})
	must(err)
	got, _, err = cloud.Instance.GetUserData(ctx, id)
	must(err)
	expect(got.Data == "", "user data that was taken away", got)
	changed, _, err := cloud.Instance.Update(ctx, id, &govultr.InstanceUpdateReq{EnableIPv6: &yes})
	must(err)
	expect(changed.V6MainIP != "" && changed.V6NetworkSize == 64, "instance with IPv6", changed)
	sixes, _, _, err := cloud.Instance.ListIPv6(ctx, id, nil)
	must(err)
	expect(len(sixes) == 1 && sixes[0].IP == changed.V6MainIP, "IPv6 addresses", sixes)
	must(cloud.Instance.CreateReverseIPv6(ctx, id, &govultr.ReverseIP{IP: changed.V6MainIP, Reverse: "lives.example.org"}))
	reverse, _, err := cloud.Instance.ListReverseIPv6(ctx, id)
	must(err)
	expect(len(reverse) == 1 && reverse[0].Reverse == "lives.example.org", "reverse names", reverse)
	must(cloud.Instance.DeleteReverseIPv6(ctx, id, changed.V6MainIP))
	must(cloud.Instance.CreateReverseIPv4(ctx, id, &govultr.ReverseIP{IP: changed.MainIP, Reverse: "lives.example.org"}))
	must(cloud.Instance.DefaultReverseIPv4(ctx, id, changed.MainIP))
	more, _, err := cloud.Instance.CreateIPv4(ctx, id, &no)
	must(err)
	must(cloud.Instance.DeleteIPv4(ctx, id, more.IP))

	hour, dow := 3, 7
	_, err = cloud.Instance.SetBackupSchedule(ctx, id, &govultr.BackupScheduleReq{Type: "weekly", Hour: &hour, Dow: &dow})
	must(err)
	schedule, _, err := cloud.Instance.GetBackupSchedule(ctx, id)
	must(err)
	expect(*schedule.Enabled && schedule.Type == "weekly" && schedule.Dow == 7, "backup schedule", schedule)
	upgrades, _, err := cloud.Instance.GetUpgrades(ctx, id)
	must(err)
	expect(len(upgrades.Plans) > 0, "plans to grow into", upgrades)

	vpc, _, err := cloud.VPC.Create(ctx, &govultr.VPCReq{Region: "ams"})
	must(err)
	must(cloud.Instance.AttachVPC(ctx, id, vpc.ID))
	infos, meta, _, err := cloud.Instance.ListVPCInfo(ctx, id, &govultr.ListOptions{PerPage: 10})
	must(err)
	expect(len(infos) == 1 && meta.Total == 1 && infos[0].MacAddress != "", "networks of an instance", infos)
	must(cloud.VPC.Update(ctx, vpc.ID, "lives"))
	must(cloud.Instance.DetachVPC(ctx, id, vpc.ID))
	must(cloud.VPC.Delete(ctx, vpc.ID))

	block, _, err := cloud.BlockStorage.Create(ctx, &govultr.BlockStorageCreate{Region: "ams", SizeGB: 10})
	must(err)
	must(cloud.BlockStorage.Attach(ctx, block.ID, &govultr.BlockStorageAttach{InstanceID: id, Live: &yes}))
	must(cloud.BlockStorage.Update(ctx, block.ID, &govultr.BlockStorageUpdate{SizeGB: 20, Label: "lives"}))
	must(cloud.BlockStorage.Detach(ctx, block.ID, &govultr.BlockStorageDetach{Live: &yes}))
	must(cloud.BlockStorage.Attach(ctx, block.ID, &govultr.BlockStorageAttach{InstanceID: id}))
	must(cloud.BlockStorage.Detach(ctx, block.ID, &govultr.BlockStorageDetach{}))
	block, _, err = cloud.BlockStorage.Get(ctx, block.ID)
	must(err)
	expect(block.SizeGB == 20 && block.Label == "lives" && block.AttachedToInstance == "", "block storage", block)
	must(cloud.BlockStorage.Delete(ctx, block.ID))

	group, _, err := cloud.FirewallGroup.Create(ctx, &govultr.FirewallGroupReq{Description: "lives"})
	must(err)
	for number, request := range []govultr.FirewallRuleReq{
		{IPType: "v4", Protocol: "tcp", Subnet: "192.0.2.0", SubnetSize: 24, Port: "22:23"},
		{IPType: "v6", Protocol: "udp", Subnet: "2001:db8::", SubnetSize: 32, Port: "53", Notes: "names"},
		{IPType: "v6", Protocol: "icmp", Subnet: "::", SubnetSize: 0},
		{IPType: "v4", Protocol: "tcp", Source: "cloudflare", Port: "443", Subnet: "", SubnetSize: 0},
	} {
		rule, _, err := cloud.FirewallRule.Create(ctx, group.ID, &request)
		must(err)
		expect(rule.ID == number+1 && rule.IPType == request.IPType && rule.Port == request.Port, "firewall rule", rule)
		_, _, err = cloud.FirewallRule.Get(ctx, group.ID, rule.ID)
		must(err)
	}
	must(cloud.FirewallRule.Delete(ctx, group.ID, 2))
	rules, meta, _, err := cloud.FirewallRule.List(ctx, group.ID, nil)
	must(err)
	expect(len(rules) == 3 && meta.Total == 3, "firewall rules", rules)
	must(cloud.FirewallGroup.Update(ctx, group.ID, &govultr.FirewallGroupReq{Description: "more lives"}))
	must(cloud.FirewallGroup.Delete(ctx, group.ID))

	snapshot, _, err := cloud.Snapshot.Create(ctx, &govultr.SnapshotReq{InstanceID: id, Description: "lives"})
	must(err)
	until("complete snapshot", func() bool {
		snapshot, _, err = cloud.Snapshot.Get(ctx, snapshot.ID)
		must(err)
		return snapshot.Status == "complete"
	})
	must(cloud.Snapshot.Update(ctx, snapshot.ID, &govultr.SnapshotUpdateReq{Description: "many lives"}))
	copied, _, err := cloud.Instance.Create(ctx, &govultr.InstanceCreateReq{
		Region: "ams", Plan: "vc2-1c-1gb", SnapshotID: snapshot.ID, Label: "lives-2",
	})
	must(err)
	expect(copied.OsID == 164, "instance from a snapshot", copied)
	settled(ctx, cloud, copied.ID, "running")

	kept, _, err := cloud.ReservedIP.Convert(ctx, &govultr.ReservedIPConvertReq{
		IPAddress: settled(ctx, cloud, copied.ID, "running").MainIP, Label: "kept",
	})
	must(err)
	expect(kept.InstanceID == copied.ID, "converted address", kept)
	must(cloud.Instance.Delete(ctx, copied.ID))
	until("address without an instance", func() bool {
		kept, _, err = cloud.ReservedIP.Get(ctx, kept.ID)
		must(err)
		return kept.InstanceID == ""
	})
	must(cloud.ReservedIP.Attach(ctx, kept.ID, id))
	fours, _, _, err := cloud.Instance.ListIPv4(ctx, id, nil)
	must(err)
	expect(len(fours) == 2 && fours[1].IP == kept.Subnet, "addresses of an instance", fours)
	must(cloud.ReservedIP.Detach(ctx, kept.ID))
	label := "spare"
	kept, _, err = cloud.ReservedIP.Update(ctx, kept.ID, &govultr.ReservedIPUpdateReq{Label: &label})
	must(err)
	expect(kept.Label == "spare", "changed reserved address", kept)
	must(cloud.ReservedIP.Delete(ctx, kept.ID))

	domain := "lives.example.org"
	_, _, err = cloud.Domain.Create(ctx, &govultr.DomainReq{Domain: domain, IP: "192.0.2.1", DNSSec: "disabled"})
	must(err)
	ten := 10
	for _, request := range []govultr.DomainRecordCreateReq{
		{Name: "", Type: "MX", Data: "mail." + domain, Priority: &ten},
		{Name: "", Type: "TXT", Data: `"v=spf1 -all"`},
		{Name: "_443._tcp", Type: "SRV", Data: "5 443 www." + domain, Priority: &ten},
		{Name: "", Type: "CAA", Data: `0 issue "letsencrypt.org"`},
		{Name: "six", Type: "AAAA", Data: "2001:db8::1", TTL: 120},
	} {
		record, _, err := cloud.DomainRecord.Create(ctx, domain, &request)
		must(err)
		expect(record.Data == request.Data, "record", record)
		must(cloud.DomainRecord.Delete(ctx, domain, record.ID))
	}
	must(cloud.Domain.Update(ctx, domain, "enabled"))
	must(cloud.Domain.UpdateSoa(ctx, domain, &govultr.Soa{NSPrimary: "ns1.example.org", Email: "dns@example.org"}))
	soa, _, err := cloud.Domain.GetSoa(ctx, domain)
	must(err)
	expect(soa.Email == "dns@example.org", "start of authority", soa)
	_, _, err = cloud.Domain.GetDNSSec(ctx, domain)
	must(err)
	must(cloud.Domain.Delete(ctx, domain))

	again, _, err := cloud.Instance.Reinstall(ctx, id, &govultr.ReinstallReq{Hostname: "other"})
	must(err)
	expect(again.Status == "pending" && again.Hostname == "other", "instance that is reinstalled", again)
	settled(ctx, cloud, id, "running")
	_, err = cloud.Instance.Restore(ctx, id, &govultr.RestoreReq{SnapshotID: snapshot.ID})
	must(err)
	settled(ctx, cloud, id, "running")
	must(cloud.Instance.MassHalt(ctx, []string{id}))
	settled(ctx, cloud, id, "stopped")
	_, _, err = cloud.Instance.Update(ctx, id, &govultr.InstanceUpdateReq{Plan: "vc2-1c-2gb"})
	must(err)
	expect(settled(ctx, cloud, id, "running").RAM == 2048, "instance with a larger plan", id)
	must(cloud.Instance.Reboot(ctx, id))
	settled(ctx, cloud, id, "running")
	must(cloud.Instance.Delete(ctx, id))
	until("no instance", func() bool {
		_, _, err := cloud.Instance.Get(ctx, id)
		return err != nil
	})
	must(cloud.Snapshot.Delete(ctx, snapshot.ID))
	must(cloud.SSHKey.Delete(ctx, key.ID))
	must(cloud.StartupScript.Delete(ctx, script.ID))
}
