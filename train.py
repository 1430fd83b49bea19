"""Train a recognizer: python train.py model=tps_resnet_bilstm_attn trainer.devices=2."""

if __name__ == "__main__":
    # Not above: worker processes import this file too, and need none of it.
    from hanline.commands.train import main

    main()
